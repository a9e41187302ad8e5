"""The life of a server: it starts, takes over a changed pool file, and ends."""
