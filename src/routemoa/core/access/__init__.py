"""Tenants of a server: what each may use and spend, and the keys that tell them. Pure."""
