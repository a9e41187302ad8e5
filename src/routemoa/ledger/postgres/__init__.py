"""The store in a database of PostgreSQL: the same tables and rules as in a file, for processes of many machines."""
