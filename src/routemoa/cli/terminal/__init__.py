"""What commands share on the terminal: progress, tables, the view of a query, questions about cost, files."""
