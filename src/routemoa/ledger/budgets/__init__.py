"""Whether a call fits into its tenant's budgets, and the totals they are checked by."""
