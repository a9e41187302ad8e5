"""Messages of Anthropic's API, made of blocks, as messages of a chat. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from routemoa.core.chat.messages import raise_wrong_type
from routemoa.core.errors import QueryError
from routemoa.gateway.chat_api.translation import expect, move_media

__all__ = ["translate_messages", "translate_text_blocks"]

LEFT_OUT = {
    *("thinking", "redacted_thinking", "fallback", "server_tool_use", "mcp_tool_use", "mcp_tool_result"),
    *("web_search_tool_result", "web_fetch_tool_result", "code_execution_tool_result", "tool_search_tool_result"),
    *("bash_code_execution_tool_result", "text_editor_code_execution_tool_result", "container_upload"),
}
"""Blocks of a model's turn that no other model reads: thoughts, and what the servers of its provider did."""
BETWEEN_BLOCKS = "\n\n"
"""Stands between two blocks of text, which members are sent as one text."""
ERROR_PREFIX = "Error: "
"""Before the result of a tool that failed, for which a chat has no mark."""


def translate_messages(given: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the messages, and the place that each comes from.

    The results of tools are messages of their own, before the rest of their turn.

    Raises:
        QueryError: one is malformed, or holds what has no counterpart; `param` names it.
    """
    messages: list[dict[str, Any]] = []
    places: list[str] = []
    for i, message in enumerate(expect("messages", given, list)):
        where = f"messages[{i}]"
        if not isinstance(message, dict):
            raise_wrong_type(where, "an object with role and content", message)
        translated = _translate_message(where, message)
        messages += translated
        places += [where] * len(translated)
    return move_media(messages, places)


def translate_text_blocks(where: str, value: Any) -> str | list[dict[str, Any]]:
    """Return a text, or blocks of text as parts. Raises QueryError."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise_wrong_type(where, "a string or an array of text blocks", value)
    parts: list[dict[str, Any]] = []
    for i, block in enumerate(value):
        place = f"{where}[{i}]"
        if _kind(place, block) != "text":
            raise QueryError(f"'{place}.type' must be text", f"{place}.type")
        _add_text(parts, place, block)
    return parts


def _translate_message(where: str, message: Mapping[str, Any]) -> list[dict[str, Any]]:
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str) or role not in ("user", "assistant", "system"):
        raise QueryError(f"'{where}.role' must be user or assistant", f"{where}.role")
    if isinstance(content, str):
        return [{"role": role, "content": content}]
    if not isinstance(content, list):
        raise_wrong_type(f"{where}.content", "a string or an array of blocks", content)
    turn = _Turn(role)
    for i, block in enumerate(content):
        turn.add(f"{where}.content[{i}]", block)
    return turn.to_messages()


class _Turn:
    """One message, while its blocks are read."""

    def __init__(self, role: str) -> None:
        self._role = role
        self._results: list[dict[str, Any]] = []
        self._calls: list[dict[str, Any]] = []
        self._parts: list[dict[str, Any]] = []

    def add(self, where: str, block: Any) -> None:
        """Take a block. Raises QueryError."""
        kind = _kind(where, block)
        if kind == "tool_result" and self._role == "user":
            self._results.append(_translate_result(where, block))
        elif kind == "tool_use" and self._role == "assistant":
            self._calls.append(_translate_call(where, block))
        elif kind not in LEFT_OUT or self._role != "assistant":
            _add_part(self._parts, where, block)

    def to_messages(self) -> list[dict[str, Any]]:
        """Return the messages that the turn is in a chat."""
        if self._calls:
            return [{"role": self._role, "content": self._parts or None, "tool_calls": self._calls}]
        if self._results and not self._parts:
            return self._results
        return [*self._results, {"role": self._role, "content": self._parts}]


def _kind(where: str, block: Any) -> str:
    if not isinstance(block, dict):
        raise_wrong_type(where, "a block (an object)", block)
    return expect(f"{where}.type", block.get("type"), str)


def _translate_call(where: str, block: Mapping[str, Any]) -> dict[str, Any]:
    id_, name = (expect(f"{where}.{key}", block.get(key), str) for key in ("id", "name"))
    if not id_:
        raise QueryError(f"'{where}.id' is empty", f"{where}.id")
    arguments = msgspec.json.encode(expect(f"{where}.input", block.get("input"), dict)).decode()
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


def _translate_result(where: str, block: Mapping[str, Any]) -> dict[str, Any]:
    id_ = expect(f"{where}.tool_use_id", block.get("tool_use_id"), str)
    content = block.get("content")
    parts: list[dict[str, Any]] = []
    if isinstance(content, list):
        for i, part in enumerate(content):
            _add_part(parts, f"{where}.content[{i}]", part)
    elif isinstance(content, str):
        parts.append({"type": "text", "text": content})
    elif content is not None:
        raise_wrong_type(f"{where}.content", "a string or an array of blocks", content)
    if block.get("is_error") is True:
        parts.insert(0, {"type": "text", "text": ERROR_PREFIX})
    marked = _mark_last(parts, where, block)
    is_text = not marked and all(p["type"] == "text" for p in parts)
    return {"role": "tool", "tool_call_id": id_, "content": "".join(p["text"] for p in parts) if is_text else parts}


def _mark_last(parts: list[dict[str, Any]], where: str, block: Mapping[str, Any]) -> bool:
    """Put the cache mark of a block on the last of its parts, where that is a text; return whether there is one."""
    control = _read_mark(where, block)
    if control is None or not parts or not parts[-1].get("text"):
        return False
    parts[-1]["cache_control"] = control
    return True


def _read_mark(where: str, block: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the cache mark of a block, if it has one. Raises QueryError."""
    if block.get("cache_control") is None:
        return None
    control = expect(f"{where}.cache_control", block["cache_control"], dict)
    return {key: control[key] for key in ("type", "ttl") if control.get(key) is not None}


def _add_part(parts: list[dict[str, Any]], where: str, block: Any) -> None:
    """Add a block that a person or a tool may send."""
    kind = _kind(where, block)
    if kind == "text":
        _add_text(parts, where, block)
    elif kind == "image":
        parts.append({"type": "image_url", "image_url": {"url": _source_url(f"{where}.source", block, "image/")}})
    elif kind == "document":
        _add_document(parts, where, block)
    elif kind == "search_result":
        _add_search_result(parts, where, block)
    elif kind == "compaction":  # of an earlier conversation elsewhere: its summary
        _add_text(parts, where, {**block, "text": block.get("content") or ""})
    else:
        known = "text, image, document, search_result, tool_use or tool_result, as the role allows"
        raise QueryError(f"'{where}.type' must be {known}", f"{where}.type")


def _add_text(parts: list[dict[str, Any]], where: str, block: Mapping[str, Any]) -> None:
    text = expect(f"{where}.text", block.get("text"), str)
    if text and parts and parts[-1]["type"] == "text":
        text = BETWEEN_BLOCKS + text
    part: dict[str, Any] = {"type": "text", "text": text}
    if (control := _read_mark(where, block)) is not None:
        part["cache_control"] = control
    parts.append(part)


def _add_document(parts: list[dict[str, Any]], where: str, block: Mapping[str, Any]) -> None:
    source = expect(f"{where}.source", block.get("source"), dict)
    if source.get("type") == "text":
        _add_text(parts, f"{where}.source", {"text": source.get("data")})
        return
    if source.get("type") == "content" and isinstance(source.get("content"), str):
        _add_text(parts, f"{where}.source", {"text": source["content"]})
        return
    data = _source_url(f"{where}.source", block, "application/")
    title = block.get("title")
    parts.append({"type": "file", "file": {"file_data": data, "filename": title if isinstance(title, str) else "file"}})


def _add_search_result(parts: list[dict[str, Any]], where: str, block: Mapping[str, Any]) -> None:
    """Add a found page as text: its title, its source, and what it says."""
    head = [expect(f"{where}.{key}", block.get(key), str) for key in ("title", "source")]
    content = translate_text_blocks(f"{where}.content", block.get("content"))
    said = content if isinstance(content, str) else "".join(part["text"] for part in content)
    _add_text(parts, where, {**block, "text": "\n".join([*head, said])})


def _source_url(where: str, block: Mapping[str, Any], media: str) -> str:
    """Return the URL of a source, or its data as one. Nothing is fetched here."""
    source = expect(where, block.get("source"), dict)
    if source.get("type") == "url":
        return expect(f"{where}.url", source.get("url"), str)
    if source.get("type") != "base64":
        raise QueryError(f"'{where}.type' must be base64 or url: no files are stored here", f"{where}.type")
    kind, data = (expect(f"{where}.{key}", source.get(key), str) for key in ("media_type", "data"))
    if not kind.startswith(media):
        raise QueryError(f"'{where}.media_type' must begin with {media}", f"{where}.media_type")
    return f"data:{kind};base64,{data}"
