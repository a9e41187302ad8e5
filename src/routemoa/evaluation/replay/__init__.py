"""Replays: methods on recorded answers, without a call."""
