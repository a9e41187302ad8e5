"""HTTP below the protocol: sessions, timeouts, headers, and the bytes of responses."""
