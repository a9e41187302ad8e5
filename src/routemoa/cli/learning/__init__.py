"""`routemoa learn` and `routemoa traces`: learn from feedback, notice drift, show and export traces."""
