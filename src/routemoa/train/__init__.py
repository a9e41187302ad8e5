"""Making scorers out of records; what is written here is read by routemoa.trained with numpy alone."""
