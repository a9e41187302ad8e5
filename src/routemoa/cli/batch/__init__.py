"""`routemoa batch`: answer the rows of a file, a folder or a URL, exactly once each."""
