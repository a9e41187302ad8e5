"""The method: engine, layers, aggregator, baselines."""
