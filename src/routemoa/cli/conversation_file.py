"""Conversations in files: a JSON list of messages, or an object with `messages`, as OpenAI's API takes them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from routemoa.cli.terminal.files import write_file
from routemoa.cli.terminal.lines import print_line
from routemoa.core.chat.messages import parse_messages
from routemoa.core.errors import QueryError
from routemoa.core.files.file_kind import detect_encoding
from routemoa.core.types import Message

__all__ = ["read_conversation", "with_system", "write_conversation"]

FORM = '[{"role": "user", "content": "..."}, ...], or {"messages": [...]}'
MAX_BYTES = 64 * 2**20


def read_conversation(file: str) -> tuple[Message, ...]:
    """Read the messages of a file; "-" is standard input.

    Raises:
        QueryError: there are none; one line that says what the file looked like.
    """
    where = "standard input" if file == "-" else file
    text = _read_text(file, where)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise QueryError(f"{where}: it should hold messages as JSON, {FORM}; {_describe_text(text, e)}") from e
    if isinstance(value, dict):
        if "messages" not in value:
            keys = _list_keys(list(value)) or "none"
            raise QueryError(f"{where}: it is an object without 'messages' (its keys: {keys}); it should be {FORM}")
        if ignored := [key for key in value if key not in ("messages", "routemoa")]:
            print_line(f"note: {where}: only 'messages' is read, not {_list_keys(ignored)}", err=True)
        value = value["messages"]
    elif not isinstance(value, list):
        raise QueryError(f"{where}: it is {_describe_json(value)}; it should be {FORM}")
    try:
        return parse_messages(value)
    except QueryError as e:
        raise QueryError(f"{where}: {e}") from e


def with_system(messages: Sequence[Message], system: str | None) -> tuple[Message, ...]:
    """Return the messages after a system message, which replaces their own; as they are where there is none."""
    if not system:
        return tuple(messages)
    return (Message("system", system), *(m for m in messages if m.role != "system"))


def write_conversation(file: str, messages: Sequence[Message], notes: Mapping[str, Any]) -> None:
    """Write the messages, and `notes` about them under "routemoa", so that `read_conversation` reads them back."""
    plain = [{"role": m.role, "content": m.content} for m in messages]
    text = json.dumps({"messages": plain, "routemoa": notes}, ensure_ascii=False, indent=2)
    write_file(file, text.encode("utf-8", "replace") + b"\n")


def _read_text(file: str, where: str) -> str:
    try:
        if file == "-":
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(file).open("rb") as opened:
                data = opened.read(MAX_BYTES + 1)
    except OSError as e:
        raise QueryError(f"{where}: it cannot be read: {e.strerror}") from e
    if len(data) > MAX_BYTES:
        raise QueryError(f"{where}: it is larger than {MAX_BYTES // 2**20} MB")
    try:
        return data.decode(detect_encoding(data[:4096]) or "utf-8")
    except UnicodeDecodeError as e:
        raise QueryError(
            f"{where}: it is not UTF-8 text: byte {e.start} is {data[e.start]:#04x}; save it as UTF-8"
        ) from e


def _describe_text(text: str, error: Exception) -> str:
    """Say what a text that is not JSON looks like."""
    if not text.strip():
        return "it is empty"
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > 1 and all(_is_json_object(line) for line in lines[:2]):
        return "it looks like JSON lines, one object on each: put them into a list, or take one of them"
    if text.lstrip()[0] not in "[{":
        return f"it begins with {text.strip()[:20]!r}"
    return f"it is not valid JSON: {error}"


def _is_json_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _list_keys(keys: Sequence[str]) -> str:
    return ", ".join(repr(key[:40]) for key in keys[:5]) + (" and more" if len(keys) > 5 else "")


def _describe_json(value: Any) -> str:
    if isinstance(value, str):
        return "a string"
    return "null" if value is None else f"the value {json.dumps(value)[:20]}"
