"""Check the calls of tools that a model proposes against the tools that the caller offers. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from routemoa.core.tools import MAX_CALLS, ToolCall, ToolUse
from routemoa.mixture.schemas.schema_check import SchemaError, check_value

__all__ = ["allowed_calls", "find_problem"]


def find_problem(use: ToolUse, calls: Sequence[ToolCall]) -> str | None:
    """Return what is wrong with the calls of one turn, none included; None where nothing is."""
    if not calls:
        if use.kind == "named":
            return f"it does not call {use.named}, as tool_choice asks"
        return "it calls no tool, as tool_choice asks" if use.kind == "required" else None
    if use.kind == "none":
        return "it calls a tool, though tool_choice is none"
    if len(calls) > MAX_CALLS:
        return f"it makes more than {MAX_CALLS} calls in one turn"
    schemas = use.schemas
    return next((problem for call in calls if (problem := _check_call(use, schemas, call)) is not None), None)


def allowed_calls(use: ToolUse, calls: tuple[ToolCall, ...]) -> tuple[ToolCall, ...]:
    """Return the calls of one turn without those that the caller wants later: one at a time, where it says so."""
    return calls[:1] if use.parallel is False else calls


def _check_call(use: ToolUse, schemas: Mapping[str, dict[str, Any]], call: ToolCall) -> str | None:
    if call.name not in schemas:
        return f"it calls {call.name[:80]!r}, which is no tool of the request"
    if use.named is not None and call.name != use.named:
        return f"it calls {call.name}, not {use.named}"
    try:
        arguments = msgspec.json.decode(call.arguments)
    except (msgspec.DecodeError, RecursionError) as e:
        return f"the arguments of {call.name} are no JSON: {e}"
    if not isinstance(arguments, dict):
        return f"the arguments of {call.name} are no JSON object"
    try:
        problem = check_value(schemas[call.name], arguments)
    except SchemaError:  # members take schemas that the library does not: then nothing more is known
        return None
    return None if problem is None else f"the arguments of {call.name} are wrong: {problem}"
