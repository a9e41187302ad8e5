"""Answers many requests as one job: exactly one result a row, within one budget, resumable after any end."""
