"""Decodes JSON of others, unless it has so many values that they would take far more memory than the text."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from routemoa.core.text.unicode_text import mend_halves

__all__ = ["MAX_CONTAINERS", "SMALL", "TooManyValues", "count_containers", "decode_bounded"]

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
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError:
        if b"\\ud" not in data and b"\\uD" not in data:
            raise
        return _decode_halves(data)


def _decode_halves(data: bytes) -> Any:
    """Decode JSON with halves of characters, which JavaScript writes and msgspec refuses."""
    try:
        return _mend(json.loads(data, parse_constant=_refuse_constant))
    except ValueError as e:
        raise msgspec.DecodeError(str(e)) from e


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _mend(value: Any) -> Any:
    if isinstance(value, str):
        return mend_halves(value)
    if isinstance(value, list):
        return [_mend(part) for part in value]
    return {mend_halves(k): _mend(v) for k, v in value.items()} if isinstance(value, dict) else value


def count_containers(data: bytes, limit: int = MAX_CONTAINERS) -> int:
    """Return how many objects and arrays JSON has at most; above `limit` brackets in its strings do not count."""
    count = data.count(b"{") + data.count(b"[")
    if count <= limit:
        return count
    outside = _STRING.sub(b"", data)
    return outside.count(b"{") + outside.count(b"[")
