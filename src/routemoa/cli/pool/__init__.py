"""`routemoa pool`: show and edit a pool file, check its models, fetch the embedded models' weights, join a model."""
