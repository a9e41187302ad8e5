"""The published recipe."""
