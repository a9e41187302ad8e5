"""The commands that evaluate: `bench`, `evaluate`, `grade` and `report`."""
