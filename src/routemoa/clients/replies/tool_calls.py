"""Folds the tool calls of a reply, which come whole or in pieces, in OpenAI's form or near it. Pure.

    {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "weather", "arguments": "{\\"ci"}}]}
    {"tool_calls": [{"index": 0, "function": {"arguments": "ty\\": 1}"}}]}

Endpoints differ: arguments as an object (Ollama), calls without an index or all with index 0, a name that is repeated
in each piece, the older `function_call`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from routemoa.core.text.unicode_text import mend_halves
from routemoa.core.tools import MAX_CALLS, ToolCall

__all__ = ["ToolCallFolder"]

MAX_KEPT = MAX_CALLS + 1
"""Calls of one turn that are kept: one more than may be, which tells that there are too many."""


class _Call:
    """One call while its pieces come in."""

    def __init__(self, id_: str) -> None:
        self.id = id_
        self.name = ""
        self.pieces: list[str] = []

    def add(self, function: Mapping[str, Any]) -> int:
        """Add a piece; return its characters."""
        name, arguments = function.get("name"), function.get("arguments")
        if isinstance(name, str) and name and not self.name.endswith(name):
            self.name += name
        if isinstance(arguments, dict | list):
            arguments = msgspec.json.encode(arguments).decode()
        if isinstance(arguments, str) and arguments:
            self.pieces.append(arguments)
            return len(arguments)
        return 0


class ToolCallFolder:
    """Takes the messages of a reply's chunks; `calls` are the calls so far."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._at: dict[int, _Call] = {}
        self.length = 0
        """Characters of names and arguments so far."""

    def add(self, message: Mapping[str, Any]) -> None:
        """Add what a chunk's message has of calls."""
        entries = message.get("tool_calls")
        for place, entry in enumerate(entries if isinstance(entries, list) else []):
            if isinstance(entry, dict):
                self._add(entry, place)
        if isinstance(legacy := message.get("function_call"), dict):
            self._add({"index": 0, "function": legacy}, 0)

    def _add(self, entry: Mapping[str, Any], place: int) -> None:
        function = entry.get("function")
        function = function if isinstance(function, dict) else entry
        id_, index = entry.get("id"), entry.get("index")
        id_ = id_ if isinstance(id_, str) else ""
        call = self._find(id_, index if isinstance(index, int) else None, place, function)
        if call is not None:
            self.length += call.add(function)

    def _find(self, id_: str, index: int | None, place: int, function: Mapping[str, Any]) -> _Call | None:
        """Return the call that a piece belongs to; None where there are too many.

        A piece with another id, or a name without an index of its own, begins another call.
        """
        key = index if index is not None else (place if id_ or function.get("name") else max(self._at, default=place))
        known = self._at.get(key)
        other_id = known is not None and id_ and known.id and id_ != known.id
        unmarked = known is not None and index is None and bool(function.get("name")) and bool(known.pieces)
        if known is not None and not other_id and not unmarked:
            return known
        if len(self._calls) >= MAX_KEPT:
            return None
        call = _Call(id_)
        self._calls.append(call)
        self._at[key] = call
        return call

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The calls that have a name; arguments that are left out are an empty object."""
        return tuple(
            ToolCall(mend_halves(c.name), mend_halves("".join(c.pieces)) or "{}", c.id) for c in self._calls if c.name
        )
