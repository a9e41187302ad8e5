"""The live list of a provider's models: fetched, and read into one shape."""
