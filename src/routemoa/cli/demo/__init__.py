"""`routemoa demo`: three questions that show how the mixture works, live, with the embedded models."""
