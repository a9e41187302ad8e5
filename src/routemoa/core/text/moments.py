"""Times, as commands print them."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["describe_moment"]


def describe_moment(seconds: float) -> str:
    """Return a time since the epoch as UTC, ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
