"""The tables of a pool file, one module for each: read, checked, and turned into structs."""
