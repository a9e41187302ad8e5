"""Questions, records and graders."""
