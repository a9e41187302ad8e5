"""Calls to models: HTTP, the wire format, the embedded runtime."""
