"""What the dashboard of `routemoa serve` does with packages above the gateway: figures, learning, the pool file."""
