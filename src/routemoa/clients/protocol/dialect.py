"""The dialect of an endpoint: its names for fields of a request, and the fields that it refuses. Pure.

It stands in the pool file or is learned (`dialect_learning`). Two names are no fields of the body: "system" is the role
of messages, "cache_control" a mark on parts of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from msgspec import Struct

from routemoa.core.types import CHAT_ROUTE, ModelSpec

__all__ = [
    "FIXED",
    "KEPT",
    "TOKEN_LIMITS",
    "Dialect",
    "apply_dialect",
    "describe_dialect",
    "drop_marks",
    "is_system",
    "member_dialect",
    "to_dialect",
]

TOKEN_LIMITS = ("max_tokens", "max_completion_tokens")
"""One setting under its old and its new name."""
KEPT = frozenset({"stop", *TOKEN_LIMITS, "tools", "tool_choice", "response_format"})
"""Parameters of a mixture's caller without which a request would be another one. All others shade an answer: they are
left out where an endpoint refuses them, and the trace says so."""
FIXED = frozenset({"model", "messages"})
"""Never left out or renamed."""


class Dialect(Struct, frozen=True):
    """What differs from OpenAI's chat API."""

    omit: frozenset[str] = frozenset()
    """Fields that are not sent."""
    rename: dict[str, str] = {}
    """Field -> its name there."""
    refused: frozenset[tuple[str, str]] = frozenset()
    """Fields and values: a field is not sent with a value that is refused, such as a level of effort."""

    def __bool__(self) -> bool:
        return bool(self.omit or self.rename or self.refused)

    def for_route(self, route: str) -> Dialect:
        """Return what holds at a route: others than chat's have no messages, and the old names of fields."""
        return self if route == CHAT_ROUTE else Dialect(self.omit & {"stream_options"})

    def __or__(self, other: Dialect) -> Dialect:
        return Dialect(self.omit | other.omit, {**self.rename, **other.rename}, self.refused | other.refused)

    def drops(self, name: str, value: Any) -> bool:
        """Return whether a field with this value is not sent."""
        return name in self.omit or (isinstance(value, str) and (name, value) in self.refused)


def member_dialect(spec: ModelSpec) -> Dialect:
    """Return what the pool file says of a member's endpoint."""
    return Dialect(frozenset(spec.omit), dict(spec.rename)) if spec.omit or spec.rename else Dialect()


def describe_dialect(dialect: Dialect) -> str:
    """Return the dialect as lines of a pool file, on one line."""
    parts = []
    if dialect.omit:
        parts.append(f"omit = {json.dumps(sorted(dialect.omit))}")
    if dialect.rename:
        pairs = ", ".join(f"{old} = {json.dumps(new)}" for old, new in sorted(dialect.rename.items()))
        parts.append(f"rename = {{ {pairs} }}")
    return ", ".join(parts)


def to_dialect(spec: ModelSpec, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a body in the dialect that the pool file gives to a member; what its `parameters` set is not left out."""
    return apply_dialect(body, member_dialect(spec), spec.parameters) if spec.rename or spec.omit else body


def apply_dialect(body: Mapping[str, Any], dialect: Dialect, keep: Collection[str] = ()) -> dict[str, Any]:
    """Return a body as the endpoint takes it; fields in `keep` are renamed, but never left out.

    Where a field is there under both names, the endpoint's own counts; of two token limits the smaller one does.
    """
    omit = [name for name in dialect.omit if name not in keep and name not in dialect.rename]
    omit += [k for k, v in body.items() if k not in keep and k not in dialect.omit and dialect.drops(k, v)]
    out = {name: value for name, value in body.items() if name in FIXED or name not in omit}
    renamed = {old: out.pop(old) for old in dialect.rename if old in out}
    for old, value in renamed.items():
        new = dialect.rename[old]
        other = out.setdefault(new, value)
        if new in TOKEN_LIMITS and isinstance(value, int) and isinstance(other, int):
            out[new] = min(value, other)
    if (role := dialect.rename.get("system")) is not None:
        out["messages"] = _map_messages(out.get("messages"), _fold_system if role == "user" else _rename_system(role))
    if "stream" in omit:
        out.pop("stream_options", None)
    if "cache_control" in omit:
        out["messages"] = _map_messages(out.get("messages"), _drop_marks)
    if "system" in omit:
        out["messages"] = _map_messages(out.get("messages"), lambda m: [x for x in m if not is_system(x)])
    return out


def _map_messages(messages: Any, change: Callable[[list[Any]], list[Any]]) -> Any:
    return change(messages) if isinstance(messages, list) else messages


def is_system(message: Any) -> bool:
    """Return whether a message of a body is a system message, under either of its roles."""
    return isinstance(message, dict) and message.get("role") in ("system", "developer")


def _rename_system(role: str) -> Callable[[list[Any]], list[Any]]:
    return lambda messages: [{**m, "role": role} if is_system(m) else m for m in messages]


def _fold_system(messages: list[Any]) -> list[Any]:
    """Put the system texts before the first user turn's text: templates without a system role refuse two user turns."""
    system = [m.get("content") for m in messages if is_system(m)]
    rest = [m for m in messages if not is_system(m)]
    if not system:
        return messages
    first = next((i for i, m in enumerate(rest) if isinstance(m, dict) and m.get("role") == "user"), None)
    if first is None:
        return [{"role": "user", "content": _join(system)}, *rest]
    merged = {**rest[first], "content": _join([*system, rest[first].get("content")])}
    return [*rest[:first], merged, *rest[first + 1 :]]


def _join(contents: Iterable[Any]) -> Any:
    """Return contents one after the other: as text, or as parts where one of them has parts."""
    given = [c for c in contents if c]
    if all(isinstance(c, str) for c in given):
        return "\n\n".join(given)
    parts: list[Any] = []
    for content in given:
        parts += content if isinstance(content, list) else [{"type": "text", "text": f"{content}\n\n"}]
    return parts


def _drop_marks(messages: list[Any]) -> list[Any]:
    """Return messages without cache marks."""
    return [drop_marks(message) if isinstance(message, dict) else message for message in messages]


def drop_marks(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message without cache marks; parts that are all text become one text again."""
    content = message.get("content")
    if not isinstance(content, list):
        return message
    parts = [{k: v for k, v in p.items() if k != "cache_control"} if isinstance(p, dict) else p for p in content]
    is_text = all(isinstance(p, dict) and set(p) == {"type", "text"} and isinstance(p["text"], str) for p in parts)
    return {**message, "content": "".join(p["text"] for p in parts) if is_text else parts}
