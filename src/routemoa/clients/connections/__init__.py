"""HTTP/1.1 to endpoints: connections that are kept open, proxies, and responses that are read as they come."""
