"""Reads a question, or a conversation in OpenAI's form, as a `Query`; what is wrong is one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any, NoReturn

import msgspec

from routemoa.core.errors import QueryError
from routemoa.core.types import CacheControl, CacheMark, Limits, Message, Query

__all__ = ["parse_messages", "raise_wrong_type", "to_query"]

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
"""OpenAI's roles -> ours."""
MAX_ENTRIES = 10_000
"""Messages of a conversation, and parts of a message."""
MAX_CACHE_MARKS = 4
"""Of a prompt, at the providers that read them."""
UNSUPPORTED = "a mixture does not support this"
FORMS = 'a question, a Query, or messages such as [{"role": "user", "content": "..."}]'
JSON_KINDS = {
    dict: "an object",
    list: "an array",
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}


def to_query(question: object, messages: object = None) -> Query:
    """Return the query for a question, a Query, or messages: `Message`s or OpenAI's objects, as either argument.

    Raises:
        QueryError: it is none of these, holds no text, or both are given.
    """
    if messages is not None:
        if question is not None:
            raise QueryError("a question and messages were given; put the question into the messages, as the last one")
        return Query(parse_messages(messages))
    match question:
        case str():
            if not question.strip():
                raise QueryError("the question is empty")
            return Query.from_text(question)
        case Query():
            return _check_query(question)
        case list() | tuple():
            return Query(parse_messages(question))
        case None:
            raise QueryError(f"no question; give {FORMS}")
        case Mapping():
            raise QueryError("the question is a single object; put messages into a list, even a single one")
    raise QueryError(f"the question is of type {type(question).__name__}; give {FORMS}")


def parse_messages(value: object, remedy: str = "") -> tuple[Message, ...]:
    """Read a list of messages.

    Args:
        value: a list of `Message`s or of OpenAI's objects.
        remedy: ends the error about something that a mixture does not support, such as an image.

    Raises:
        QueryError: it is malformed; `param` names the place.
    """
    if not isinstance(value, list | tuple):
        raise_wrong_type("messages", "an array of messages", value)
    if not value:
        raise QueryError("'messages' is empty; give at least one message", "messages")
    _check_count("messages", value)
    messages = tuple(_parse_message(f"messages[{i}]", m, f"{UNSUPPORTED}{remedy}") for i, m in enumerate(value))
    if not any(m.content.strip() for m in messages):
        raise QueryError("'messages' contains no text; there is nothing to answer", "messages")
    if sum(len(m.marks) for m in messages) > MAX_CACHE_MARKS:
        raise QueryError(f"'messages' has more than {MAX_CACHE_MARKS} cache_control marks; remove some", "messages")
    return messages


def raise_wrong_type(where: str, wanted: str, value: object) -> NoReturn:
    """Raise QueryError for a value of the wrong type; the value itself is not repeated."""
    kind = JSON_KINDS.get(type(value), f"a value of type {type(value).__name__}")
    raise QueryError(f"Invalid type for '{where}': expected {wanted}, but got {kind} instead.", where)


def _check_count(where: str, values: Sized) -> None:
    """Raise QueryError for more entries than any conversation has: each costs time."""
    if len(values) > MAX_ENTRIES:
        raise QueryError(f"'{where}' has {len(values)} entries; it may have {MAX_ENTRIES}", where)


def _check_query(query: Query) -> Query:
    """Return the query; a struct that was made in code may hold anything."""
    parse_messages(query.messages)
    if not all(isinstance(m, Message) for m in query.messages):
        raise QueryError("the messages of a Query are of type Message; give plain objects as messages=[...] instead")
    if not isinstance(query.limits, Limits) or not isinstance(query.parameters, dict):
        raise QueryError("the limits of a Query are of type Limits, and its parameters are a dict")
    return query


def _parse_message(where: str, value: Any, unsupported: str) -> Message:
    if isinstance(value, Message):
        if value.role not in ROLES.values() or not isinstance(value.content, str):
            raise QueryError(f"'{where}' is no message: its role is one of system, user, assistant; its content, text")
        return value
    if not isinstance(value, Mapping):
        raise_wrong_type(where, "an object with role and content", value)
    role = value.get("role")
    if role in ("tool", "function") or value.get("tool_calls") or value.get("function_call") or value.get("audio"):
        raise QueryError(f"'{where}' belongs to a tool call or contains audio: {unsupported}", where)
    if not isinstance(role, str) or role not in ROLES:
        raise QueryError(f"'{where}.role' must be one of {', '.join(ROLES)}", f"{where}.role")
    content = value.get("content")
    if isinstance(content, str):
        return Message(ROLES[role], content)
    text, marks = _parse_parts(f"{where}.content", content, unsupported)
    return Message(ROLES[role], text, marks)


def _parse_parts(where: str, parts: Any, unsupported: str) -> tuple[str, tuple[CacheMark, ...]]:
    """Return the text of all parts together, and their cache marks."""
    if not isinstance(parts, list | tuple):
        raise_wrong_type(where, "a string or an array of text parts", parts)
    _check_count(where, parts)
    texts: list[str] = []
    length = 0
    marks: list[CacheMark] = []
    for i, part in enumerate(parts):
        texts.append(_parse_text_part(f"{where}[{i}]", part, unsupported))
        length += len(texts[-1])
        control = _parse_cache_control(f"{where}[{i}].cache_control", part.get("cache_control"), texts[-1])
        if control is not None:
            marks.append(CacheMark(length, control))
    return "".join(texts), tuple(marks)


def _parse_text_part(where: str, part: Any, unsupported: str) -> str:
    if not isinstance(part, Mapping):
        raise_wrong_type(where, "an object with type and text", part)
    if part.get("type") != "text":
        raise QueryError(f"'{where}' is not a text part; images, audio and files: {unsupported}", where)
    text = part.get("text")
    if not isinstance(text, str):
        raise_wrong_type(f"{where}.text", "a string", text)
    return text


def _parse_cache_control(where: str, value: Any, text: str) -> CacheControl | None:
    """Return a part's cache mark; members whose endpoint does not support such marks are sent the text alone."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise_wrong_type(where, "an object with type", value)
    try:
        control = msgspec.convert(value, CacheControl)
    except msgspec.ValidationError as e:
        wanted = '{"type": "ephemeral"}, optionally with "ttl": "5m" or "1h", the time to keep it'
        raise QueryError(f"'{where}' must be {wanted}", where) from e
    if not text:
        raise QueryError(f"'{where}' marks an empty text; put it on a part with text", where)
    return control
