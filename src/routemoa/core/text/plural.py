"""Numbers of things in words."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return how many there are, such as "1 model", "0 models" or "1,024 queries"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
