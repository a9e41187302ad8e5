"""Reads what endpoints reply: the answer without its thoughts, how it ended, what it used, or the error it is. Pure."""
