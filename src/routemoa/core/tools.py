"""Tools that a caller offers to a model, and the calls of them that a model proposes. Pure data.

    ToolUse(tools=({"type": "function", "function": {"name": "weather", "parameters": {...}}},))
    ToolCall("weather", '{"city": "Paris"}')

A tool is the caller's own JSON object: members are sent it as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

__all__ = ["MAX_CALLS", "ToolCall", "ToolChoice", "ToolUse", "declare_calls", "tool_name"]

MAX_CALLS = 128
"""Calls of one turn; a turn with more is an error."""
ToolChoice = Literal["auto", "none", "required", "named"]


class ToolCall(Struct, frozen=True, omit_defaults=True):
    """A call of a tool that a model proposes."""

    name: str
    arguments: str
    """JSON text, as the model wrote it."""
    id: str = ""
    """What the caller's result refers to; empty until the call is chosen."""


class ToolUse(Struct, frozen=True, omit_defaults=True):
    """The tools of a request, and which of them may or must be called."""

    tools: tuple[dict[str, Any], ...]
    """The caller's own objects."""
    choice: str | dict[str, Any] | None = None
    """As the caller gave it: "auto", "none", "required", or an object that names a tool."""
    parallel: bool | None = None
    """Whether one turn may have several calls; None is the endpoint's default."""

    @property
    def kind(self) -> ToolChoice:
        """Return what the choice asks for."""
        if isinstance(self.choice, dict):
            return "named"
        return self.choice if self.choice in ("none", "required") else "auto"  # type: ignore[return-value]

    @property
    def named(self) -> str | None:
        """Return the tool that must be called; None where the choice names none."""
        return tool_name(self.choice) if isinstance(self.choice, dict) else None

    @property
    def schemas(self) -> dict[str, dict[str, Any]]:
        """Return {name: JSON schema of the arguments} of the functions; empty where a function takes anything."""
        found: dict[str, dict[str, Any]] = {}
        for tool in self.tools:
            if (name := tool_name(tool)) is not None:
                function = tool.get("function")
                parameters = function.get("parameters") if isinstance(function, dict) else None
                found[name] = parameters if isinstance(parameters, dict) else {}
        return found

    def to_body(self) -> dict[str, Any]:
        """Return the fields of a request's body."""
        body: dict[str, Any] = {"tools": list(self.tools)}
        if self.choice is not None:
            body["tool_choice"] = self.choice
        if self.parallel is not None:
            body["parallel_tool_calls"] = self.parallel
        return body


def tool_name(tool: Mapping[str, Any]) -> str | None:
    """Return the name of the function in a tool or in a choice of one; None where it has none."""
    function = tool.get("function")
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else None


def declare_calls(calls: tuple[ToolCall, ...]) -> list[dict[str, Any]]:
    """Return calls as a message of OpenAI's API has them."""
    return [{"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}} for c in calls]
