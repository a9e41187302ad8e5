"""Keep the traces of answers and what callers said of them, beside the ledger."""
