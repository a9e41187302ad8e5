"""Group proposals to a request with tools: equal sets of calls are one answer, and no call is one of them. Pure.

    canonical_calls([ToolCall("weather", '{"city": " Paris ", "days": 1.0}')])
    # '[["weather",{"city":"Paris","days":1}]]'

Names and arguments are compared as JSON: keys and calls in any order, 1 and 1.0 alike, space around texts left out.
Comparing whole sets is enough: voting for single calls or arguments changed -.4 to +.8 points on recorded calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from routemoa.core.tools import ToolCall
from routemoa.judging.answers.grouping import Groups, group_by_form

__all__ = ["canonical_calls", "group_calls", "normalize_json"]


def group_calls(proposed: Sequence[Sequence[ToolCall]]) -> Groups:
    """Group the sets of calls that models propose; a set may be empty."""
    return group_by_form([canonical_calls(calls) for calls in proposed])


def canonical_calls(calls: Sequence[ToolCall]) -> str:
    """Return a set of calls in one form."""
    return "[" + ",".join(sorted(_canonical_call(call) for call in calls)) + "]"


def _canonical_call(call: ToolCall) -> str:
    try:
        arguments = normalize_json(msgspec.json.decode(call.arguments))
    except (msgspec.DecodeError, RecursionError):
        arguments = call.arguments.strip()
    return msgspec.json.encode([call.name.strip(), arguments], order="sorted").decode()


def normalize_json(value: Any) -> Any:
    """Return a JSON value in one form: without space around texts, whole numbers as such."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, list):
        return [normalize_json(item) for item in value]
    if isinstance(value, dict):
        return {key: normalize_json(item) for key, item in value.items()}
    return value
