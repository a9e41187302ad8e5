"""A member of the pool: its prices, endpoints and patience. Pure data."""
