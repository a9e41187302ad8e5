"""What a client knows of endpoints: which are healthy, and where a call of a member is placed."""
