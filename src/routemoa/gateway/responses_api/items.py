"""Input items of the Responses API as messages of a chat. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routemoa.core.chat.messages import raise_wrong_type
from routemoa.core.errors import QueryError
from routemoa.gateway.chat_api.translation import expect, move_media
from routemoa.gateway.responses_api.tools import chat_name, wrap_input

__all__ = ["translate_items"]

LEFT_OUT = {
    *("reasoning", "web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call"),
    *("mcp_list_tools", "mcp_call", "mcp_approval_request", "mcp_approval_response"),
}
"""Thoughts, and what OpenAI's servers did in a conversation that began there: no other model reads them."""
TEXT_PARTS = {"input_text", "output_text", "text"}


def translate_items(items: list[Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the messages, and the place of the item that each comes from.

    Calls that follow one another, or the text before them, are one turn of the assistant.

    Raises:
        QueryError: an item is malformed, or of a kind that has no counterpart; `param` names it.
    """
    messages: list[dict[str, Any]] = []
    places: list[str] = []
    for i, item in enumerate(items):
        where = f"input[{i}]"
        if not isinstance(item, dict):
            raise_wrong_type(where, "an item (an object)", item)
        kind = item.get("type") or "message"
        if isinstance(kind, str) and kind in LEFT_OUT:
            continue
        is_call = kind in ("function_call", "custom_tool_call")
        if is_call and messages and messages[-1]["role"] == "assistant":
            messages[-1].setdefault("tool_calls", []).append(_translate_call(where, item))
            continue
        places.append(where)
        if kind == "message":
            messages.append(_translate_message(where, item))
        elif is_call:
            messages.append({"role": "assistant", "content": None, "tool_calls": [_translate_call(where, item)]})
        elif kind in ("function_call_output", "custom_tool_call_output"):
            messages.append(_translate_output(where, item))
        elif kind == "item_reference":
            raise QueryError(f"'{where}' refers to an item, and this server keeps none; send the item itself", where)
        else:
            known = "message, function_call, custom_tool_call, an output of these, or reasoning"
            raise QueryError(f"'{where}.type' must be {known}", f"{where}.type")
    return move_media(messages, places)


def _translate_message(where: str, item: Mapping[str, Any]) -> dict[str, Any]:
    if item.get("role") == "tool":
        raise QueryError(f"'{where}.role': a tool's result is an item function_call_output", f"{where}.role")
    return {"role": item.get("role"), "content": _translate_content(f"{where}.content", item.get("content"))}


def _translate_call(where: str, item: Mapping[str, Any]) -> dict[str, Any]:
    is_custom = item["type"] == "custom_tool_call"
    keys = ("call_id", "name", "input" if is_custom else "arguments")
    call_id, name, given = (expect(f"{where}.{key}", item.get(key), str) for key in keys)
    if not call_id:
        raise QueryError(f"'{where}.call_id' is empty", f"{where}.call_id")
    function = {"name": chat_name(name, item.get("namespace")), "arguments": wrap_input(given) if is_custom else given}
    return {"id": call_id, "type": "function", "function": function}


def _translate_output(where: str, item: Mapping[str, Any]) -> dict[str, Any]:
    content = _translate_content(f"{where}.output", item.get("output"))
    return {"role": "tool", "tool_call_id": expect(f"{where}.call_id", item.get("call_id"), str), "content": content}


def _translate_content(where: str, content: Any) -> str | list[dict[str, Any]]:
    """Return a text, or parts; several texts alone are one."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise_wrong_type(where, "a string or an array of parts", content)
    return [_translate_part(f"{where}[{i}]", part) for i, part in enumerate(content)]


def _translate_part(where: str, part: Any) -> dict[str, Any]:
    if not isinstance(part, dict):
        raise_wrong_type(where, "a part (an object)", part)
    kind = part.get("type")
    if isinstance(kind, str) and kind in TEXT_PARTS:
        marks = {"cache_control": part["cache_control"]} if part.get("cache_control") is not None else {}
        return {"type": "text", "text": expect(f"{where}.text", part.get("text"), str), **marks}
    if kind == "refusal":
        return {"type": "text", "text": expect(f"{where}.refusal", part.get("refusal"), str)}
    if kind == "input_image":
        if part.get("image_url") is None:
            raise QueryError(f"'{where}.image_url' is missing: no files are stored here", f"{where}.image_url")
        url = {"url": expect(f"{where}.image_url", part["image_url"], str)}
        return {"type": "image_url", "image_url": url | _pick(part, "detail")}
    if kind == "input_audio":
        return {"type": "input_audio", "input_audio": expect(f"{where}.input_audio", part.get("input_audio"), dict)}
    if kind == "input_file":
        data = part.get("file_url") if part.get("file_data") is None else part["file_data"]
        if data is None:
            raise QueryError(f"'{where}.file_data' is missing: no files are stored here", f"{where}.file_data")
        return {"type": "file", "file": {"file_data": data, **_pick(part, "filename")}}
    known = "input_text, input_image, input_audio, input_file, output_text or refusal"
    raise QueryError(f"'{where}.type' must be {known}", f"{where}.type")


def _pick(part: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: part[key] for key in keys if part.get(key) is not None}
