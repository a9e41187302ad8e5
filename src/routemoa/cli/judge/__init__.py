"""`routemoa judge`: fit and calibrate what is known of judges, and replay saved traces under another policy."""
