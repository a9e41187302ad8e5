"""Making scorers out of records; what is written here is read by routemoa.scoring.trained with numpy alone."""
