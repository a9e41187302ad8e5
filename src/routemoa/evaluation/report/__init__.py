"""The report: outcomes -> figures -> one page, or a table."""
