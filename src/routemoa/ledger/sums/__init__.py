"""Read the ledger's calls, sum them, and correct what one of them cost."""
