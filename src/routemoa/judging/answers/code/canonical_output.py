"""Write what a function returned in one form, as JSON: sets and dictionaries in an order, objects without addresses.

Standard library only and nothing else of this project: the text of this file also goes into the sandbox, where the
outputs are made.
"""

from __future__ import annotations

import hashlib
import json
from itertools import islice

TYPE_CHECKING = False
if TYPE_CHECKING:  # the sandbox need not load typing
    from typing import Any

__all__ = ["encode_output"]

MAX_NODES = 4000  # of an output's structure
MAX_LEVELS = 30
MAX_ITEMS = 1000  # that are taken from an iterator
MAX_TEXT = 1000  # characters of a text; of a longer one the hash is kept


def encode_output(value: Any) -> str:
    """Return the JSON of a value, equal for equal values; an iterator is read."""
    return json.dumps(_encode(value, [MAX_NODES], 0), ensure_ascii=True, separators=(",", ":"))


def _encode(value: Any, nodes: list[int], level: int) -> Any:
    """Return a value as JSON can hold it: ["list", ...], ["dict", [key, value], ...], numbers and texts as such."""
    nodes[0] -= 1
    if nodes[0] < 0 or level > MAX_LEVELS:
        return ["cut"]
    if value is None or isinstance(value, bool | int | float | str | bytes | bytearray):
        return _encode_scalar(value)
    if isinstance(value, list | tuple):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return [kind, *(_encode(item, nodes, level + 1) for item in islice(value, MAX_NODES))]
    if isinstance(value, set | frozenset):
        return ["set", *sorted((_encode(v, nodes, level + 1) for v in islice(value, MAX_NODES)), key=json.dumps)]
    if isinstance(value, dict):
        items = islice(value.items(), MAX_NODES)
        pairs = [[_encode(k, nodes, level + 1), _encode(v, nodes, level + 1)] for k, v in items]
        return ["dict", *sorted(pairs, key=json.dumps)]
    return _encode_object(value, nodes, level)


def _encode_scalar(value: bool | int | float | str | bytes | bytearray | None) -> Any:
    if isinstance(value, str):
        return _shorten(str(value))
    if isinstance(value, bytes | bytearray):
        return ["bytes", _shorten(bytes(value[:MAX_TEXT]).hex())]
    if isinstance(value, float):
        return float(value) if value - value == 0 else ["float", str(float(value))]
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value) if abs(value) < 2**63 else ["int", hex(value)[:MAX_TEXT]]
    return value


def _encode_object(value: Any, nodes: list[int], level: int) -> Any:
    if isinstance(value, type) or callable(value):
        return ["function"]
    if hasattr(value, "__next__") or type(value).__name__ in (
        "range",
        "deque",
        "dict_keys",
        "dict_values",
        "dict_items",
    ):
        return ["iterator", *(_encode(item, nodes, level + 1) for item in islice(value, MAX_ITEMS))]
    name = type(value).__name__
    if hasattr(value, "__dict__"):
        return ["object", name, _encode(vars(value), nodes, level + 1)]
    text = repr(value)
    return ["object", name, "" if " at 0x" in text else _shorten(text)]


def _shorten(text: str) -> str:
    if len(text) <= MAX_TEXT:
        return text
    return text[:MAX_TEXT] + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
