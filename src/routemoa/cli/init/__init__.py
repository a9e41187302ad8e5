"""`routemoa init`: find keys, servers and model files, and write a pool file of what is there."""
