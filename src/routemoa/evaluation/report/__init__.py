"""The report: outcomes -> figures -> one HTML page, or a table on the terminal."""
