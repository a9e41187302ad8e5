"""Requests that are passed through to one member."""
