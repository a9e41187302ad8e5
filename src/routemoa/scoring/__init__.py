"""The prior: how likely each model is to answer well, before any call."""
