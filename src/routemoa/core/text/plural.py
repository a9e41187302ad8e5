"""Numbers of things in words."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["counted", "list_some"]

SHOWN_NAMES = 5


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return how many there are, such as "1 model", "0 models" or "1,024 queries"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def list_some(names: Sequence[str]) -> str:
    """Return the first names of a list, such as "a, b, c, d, e and 7 more"."""
    rest = len(names) - SHOWN_NAMES
    return ", ".join(names[:SHOWN_NAMES]) + (f" and {rest:,} more" if rest > 0 else "")
