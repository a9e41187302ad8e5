"""The vocabulary: types, errors, events, protocols, the pool file."""
