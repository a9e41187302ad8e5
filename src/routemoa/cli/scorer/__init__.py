"""`routemoa scorer`: train a scorer, evaluate it, explain a prediction, add models, learn from outcomes."""
