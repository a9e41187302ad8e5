"""Read the files that users write: their kind, and tables of TOML as structs."""
