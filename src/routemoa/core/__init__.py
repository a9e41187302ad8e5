"""The vocabulary of all packages: types, errors, events, protocols and the pool file."""
