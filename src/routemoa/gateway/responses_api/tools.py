"""Tools of the Responses API as functions of a chat, and the names by which their calls go back. Pure.

A chat knows functions alone. A tool that takes free text is a function with one text; a function of a namespace has the
namespace in its name. Tools that OpenAI's servers run, such as a web search, are left out beside others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from routemoa.core.chat.messages import raise_wrong_type
from routemoa.core.errors import QueryError
from routemoa.gateway.chat_api.checks import check_tool_name
from routemoa.gateway.chat_api.translation import expect

__all__ = ["OWN_KINDS", "CallerTool", "chat_name", "read_tools", "translate_choice", "wrap_input"]

OWN_KINDS = {"function", "custom", "namespace"}
"""The kinds of tools that the caller runs."""
FREE_TEXT = "input"
"""The one argument of a function that stands for a tool of free text."""
FREE_TEXT_SCHEMA = {
    "type": "object",
    "properties": {FREE_TEXT: {"type": "string"}},
    "required": [FREE_TEXT],
    "additionalProperties": False,
}


class CallerTool(Struct, frozen=True):
    """A tool that the caller offers."""

    name: str
    function: dict[str, Any]
    """As a chat has it."""
    namespace: str | None = None
    is_custom: bool = False
    """Whether it takes free text."""

    def describe_call(self, id_: str, call: Mapping[str, Any]) -> dict[str, Any]:
        """Return a chat's call of it as an output item, of which `arguments` or `input` is the caller's."""
        arguments = call["function"]["arguments"]
        item = {"id": id_, "call_id": call["id"], "name": self.name, "status": "completed"}
        if self.is_custom:
            return {"type": "custom_tool_call", **item, "input": unwrap_input(arguments)}
        space = {} if self.namespace is None else {"namespace": self.namespace}
        return {"type": "function_call", **item, **space, "arguments": arguments}


def chat_name(name: str, namespace: Any) -> str:
    """Return the name that a function of a namespace has in a chat."""
    return f"{namespace}__{name}" if isinstance(namespace, str) and namespace else name


def wrap_input(text: str) -> str:
    """Return the arguments of the function that stands for a tool of free text."""
    return msgspec.json.encode({FREE_TEXT: text}).decode()


def unwrap_input(arguments: str) -> str:
    """Return the text in such arguments; the whole where they are no such object."""
    value = msgspec.json.decode(arguments)
    text = value.get(FREE_TEXT) if isinstance(value, dict) else None
    return text if isinstance(text, str) else arguments


def read_tools(value: Any) -> dict[str, CallerTool] | None:
    """Return {name in a chat: tool}; None where no field is given.

    Raises:
        QueryError: one is malformed, or there are only tools that this server does not have; `param` names it.
    """
    if value is None:
        return None
    found: dict[str, CallerTool] = {}
    elsewhere: list[str] = []
    for i, tool in enumerate(expect("tools", value, list)):
        where = f"tools[{i}]"
        if not isinstance(tool, dict):
            raise_wrong_type(where, "an object", tool)
        kind = expect(f"{where}.type", tool.get("type"), str)
        if kind in OWN_KINDS - {"namespace"}:
            _add_tool(found, where, tool)
        elif kind == "namespace":
            _add_namespace(found, where, tool)
        else:
            elsewhere.append(where)
    if elsewhere and not found:
        place = f"{elsewhere[0]}.type"
        raise QueryError(f"'{place}' must be function or custom: this server has no tools of its own", place)
    return found


def translate_choice(choice: Any, tools: Mapping[str, CallerTool]) -> dict[str, Any]:
    """Return the field `tool_choice`, and `tools` where the choice allows only some of them. Raises QueryError."""
    if choice is None:
        return {}
    if not isinstance(choice, dict):
        return {"tool_choice": choice}
    kind = choice.get("type")
    if kind in ("function", "custom"):
        name = chat_name(expect("tool_choice.name", choice.get("name"), str), choice.get("namespace"))
        return {"tool_choice": {"type": "function", "function": {"name": name}}}
    if kind == "allowed_tools":
        allowed = [t for t in expect("tool_choice.tools", choice.get("tools"), list) if isinstance(t, dict)]
        names = [chat_name(str(t.get("name")), t.get("namespace")) for t in allowed]
        left = [tool.function for name, tool in tools.items() if name in names]
        if not left:
            raise QueryError("'tool_choice.tools' names no tool of the request", "tool_choice.tools")
        return {"tool_choice": choice.get("mode", "auto"), "tools": left}
    raise QueryError("'tool_choice.type' must be function, custom or allowed_tools", "tool_choice.type")


def _add_namespace(found: dict[str, CallerTool], where: str, tool: Mapping[str, Any]) -> None:
    namespace = expect(f"{where}.name", tool.get("name"), str)
    for j, inner in enumerate(expect(f"{where}.tools", tool.get("tools"), list)):
        place = f"{where}.tools[{j}]"
        if not isinstance(inner, dict) or inner.get("type") not in ("function", "custom"):
            raise QueryError(f"'{place}.type' must be function or custom", f"{place}.type")
        _add_tool(found, place, inner, namespace)


def _add_tool(found: dict[str, CallerTool], where: str, tool: Mapping[str, Any], namespace: str | None = None) -> None:
    """Add a tool under its name in a chat."""
    name = expect(f"{where}.name", tool.get("name"), str)
    if not name:
        raise QueryError(f"'{where}.name' is empty", f"{where}.name")
    full = chat_name(name, namespace)
    check_tool_name(f"{where}.name", full, found)
    if tool["type"] == "custom":
        described = {"description": _describe_custom(where, tool), "parameters": FREE_TEXT_SCHEMA}
        found[full] = CallerTool(name, _function(full, described), namespace, True)
        return
    if tool.get("parameters") is not None:
        expect(f"{where}.parameters", tool["parameters"], dict)
    known = ("description", "parameters", "strict")
    described = {k: tool[k] for k in known if tool.get(k) is not None}
    found[full] = CallerTool(name, _function(full, described), namespace)


def _describe_custom(where: str, tool: Mapping[str, Any]) -> str:
    """Return the description of a tool of free text, and the grammar of the text where it has one."""
    description = expect(f"{where}.description", tool.get("description") or "", str)
    form = expect(f"{where}.format", tool.get("format") or {}, dict)
    if form.get("type") != "grammar":
        return description
    definition = expect(f"{where}.format.definition", form.get("definition"), str)
    return f"{description}\n\nThe text of `{FREE_TEXT}` follows this {form.get('syntax')} grammar:\n{definition}"


def _function(name: str, described: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **described}}
