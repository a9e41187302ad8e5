"""Decodes JSON of others, unless it has so many values that they would take far more memory than the text."""

from __future__ import annotations

import re
from typing import Any

import msgspec

__all__ = ["LARGE", "MAX_CONTAINERS", "SMALL", "TooManyValues", "count_containers", "decode_bounded"]

LARGE = 2**20
"""Bytes of JSON above which it is decoded in a thread."""
MAX_CONTAINERS = 200_000
"""Objects and arrays in a text. Each takes some hundred bytes of memory, and two of the text."""
SMALL = 2 * MAX_CONTAINERS
"""Bytes in which there cannot be too many."""
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


class TooManyValues(ValueError):
    """A text has more objects and arrays than are decoded."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"it has more than {limit} objects and arrays")


def decode_bounded(data: bytes, limit: int = MAX_CONTAINERS) -> Any:
    """Decode JSON.

    Args:
        data: the text.
        limit: of objects and arrays.

    Raises:
        TooManyValues: it has too many objects and arrays.
        msgspec.DecodeError: it is no JSON.
        RecursionError: it is nested too deeply.
    """
    if len(data) > 2 * limit and count_containers(data, limit) > limit:
        raise TooManyValues(limit)
    return msgspec.json.decode(data)


def count_containers(data: bytes, limit: int = MAX_CONTAINERS) -> int:
    """Return how many objects and arrays JSON has at most; above `limit` brackets in its strings do not count."""
    count = data.count(b"{") + data.count(b"[")
    if count <= limit:
        return count
    outside = _STRING.sub(b"", data)
    return outside.count(b"{") + outside.count(b"[")
