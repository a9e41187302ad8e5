"""`routemoa ledger`: show the calls that were made and what they cost, as tables, files and plots."""
