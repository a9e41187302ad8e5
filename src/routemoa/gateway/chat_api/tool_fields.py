"""Reads the fields of a request that offer tools. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from msgspec.structs import replace

from routemoa.core.chat.messages import raise_wrong_type
from routemoa.core.errors import QueryError
from routemoa.core.tools import ToolUse, tool_name
from routemoa.gateway.chat_api.checks import check_tool_name

__all__ = ["TOOL_FIELDS", "parse_tool_use"]

TOOL_FIELDS = {"tools", "tool_choice", "parallel_tool_calls"}
MAX_TOOLS = 1024


def parse_tool_use(body: Mapping[str, Any]) -> ToolUse | None:
    """Return the tools that a request offers; None where it offers none.

    Raises:
        QueryError: a tool is no function, or the choice is none that there is; `param` names the place.
    """
    tools = body.get("tools")
    choice = body.get("tool_choice")
    if tools is None or tools == []:
        if choice not in (None, "none", "auto"):
            raise QueryError("'tool_choice' is only allowed when 'tools' are given", "tool_choice")
        return None
    if not isinstance(tools, list):
        raise_wrong_type("tools", "an array of tools", tools)
    if len(tools) > MAX_TOOLS:
        raise QueryError(f"'tools' has {len(tools)} entries; it may have {MAX_TOOLS}", "tools")
    names: set[str] = set()
    for i, tool in enumerate(tools):
        names.add(_check_tool(f"tools[{i}]", tool, names))
    parallel = body.get("parallel_tool_calls")
    if parallel is not None and not isinstance(parallel, bool):
        raise_wrong_type("parallel_tool_calls", "a boolean", parallel)
    return _apply_choice(ToolUse(tuple(tools), choice, parallel), names)


def _check_tool(where: str, tool: Any, earlier: Collection[str]) -> str:
    """Return the name of a tool."""
    if not isinstance(tool, dict):
        raise_wrong_type(where, "an object", tool)
    if tool.get("type", "function") != "function":
        raise QueryError(f"'{where}.type' must be 'function': a mixture calls no other tools", f"{where}.type")
    if not (name := tool_name(tool)):
        raise QueryError(f"'{where}.function.name' is missing", f"{where}.function.name")
    check_tool_name(f"{where}.function.name", name, earlier)
    parameters = tool["function"].get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise_wrong_type(f"{where}.function.parameters", "a JSON Schema object", parameters)
    return name


def _apply_choice(use: ToolUse, names: Collection[str]) -> ToolUse:
    """Return the tools with a choice that there is; without those that the choice does not allow."""
    choice = use.choice
    if choice is None or choice in ("auto", "none", "required"):
        return use
    if not isinstance(choice, dict):
        known = "auto, none, required, or an object that names a tool"
        raise QueryError(f"'tool_choice' must be {known}", "tool_choice")
    kind = choice.get("type", "function")
    if kind == "allowed_tools":
        return _keep_allowed(use, choice.get("allowed_tools"), names)
    if kind != "function":
        raise QueryError("'tool_choice.type' must be function or allowed_tools", "tool_choice.type")
    if not (name := use.named):
        raise QueryError("'tool_choice.function.name' is missing", "tool_choice.function.name")
    _check_offered("tool_choice", name, names)
    return use


def _keep_allowed(use: ToolUse, allowed: Any, names: Collection[str]) -> ToolUse:
    """Return the allowed tools alone: not every endpoint knows such a choice."""
    where = "tool_choice.allowed_tools"
    if not isinstance(allowed, dict):
        raise_wrong_type(where, "an object with mode and tools", allowed)
    if (mode := allowed.get("mode")) not in ("auto", "required"):
        raise QueryError(f"'{where}.mode' must be auto or required", f"{where}.mode")
    tools = allowed.get("tools")
    if not isinstance(tools, list) or not tools:
        raise QueryError(f"'{where}.tools' must be an array of at least one tool", f"{where}.tools")
    kept: set[str] = set()
    for i, tool in enumerate(tools):
        name = tool_name(tool) if isinstance(tool, dict) else None
        if not name:
            raise QueryError(f"'{where}.tools[{i}].function.name' is missing", f"{where}.tools[{i}].function.name")
        _check_offered(f"{where}.tools[{i}].function.name", name, names)
        kept.add(name)
    return replace(use, tools=tuple(tool for tool in use.tools if tool_name(tool) in kept), choice=mode)


def _check_offered(where: str, name: str, names: Collection[str]) -> None:
    if name not in names:
        raise QueryError(f"'{where}' names {name[:64]!r}, which is no tool of the request", where)
