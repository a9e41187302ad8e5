"""Routing: which models to call next, in what order, and when to stop. Pure."""
