"""Plan a panel: rank the models, estimate what more calls would add, and say when to stop. Pure."""
