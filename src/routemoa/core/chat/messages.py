"""Reads a question, or a conversation in OpenAI's form, as a `Query`; what is wrong is one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from typing import Any, NoReturn

import msgspec

from routemoa.core.content.cache_marks import CacheControl, CachedPrompt, CacheMark
from routemoa.core.content.media import MAX_MEDIA, check_media_part, count_media
from routemoa.core.errors import QueryError
from routemoa.core.types import Limits, Message, Query

__all__ = ["UNSUPPORTED", "parse_messages", "raise_wrong_type", "to_query"]

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
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
    if not any(m.content.strip() or m.body is not None for m in messages):
        raise QueryError("'messages' contains no text; there is nothing to answer", "messages")
    _check_results(messages)
    if sum(count_media(m.body) for m in messages) > MAX_MEDIA:
        raise QueryError(f"'messages' has more than {MAX_MEDIA} images, audio and files; send fewer", "messages")
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


def _check_results(messages: Sequence[Message]) -> None:
    """Raise QueryError for the result of a tool call that no message before it has: models refuse it, or wonder."""
    made: set[object] = set()
    for i, message in enumerate(messages):
        body = message.body or {}
        if message.role == "assistant":
            made.update(call["id"] for call in body.get("tool_calls") or ())
        elif message.role == "tool" and (id_ := body.get("tool_call_id")) not in made:
            raise QueryError(
                f"'messages[{i}].tool_call_id' is {str(id_)[:64]!r}, an id that no tool call of an assistant message "
                "before it has; send the message with the calls, too",
                f"messages[{i}].tool_call_id",
            )


def _check_query(query: Query) -> Query:
    """Return the query; a struct that was made in code may hold anything."""
    parse_messages(query.messages)
    if not all(isinstance(m, Message) for m in query.messages):
        raise QueryError("the messages of a Query are of type Message; give plain objects as messages=[...] instead")
    if not isinstance(query.limits, Limits) or not isinstance(query.parameters, dict):
        raise QueryError("the limits of a Query are of type Limits, and its parameters are a dict")
    if query.cached is not None and not isinstance(query.cached, CachedPrompt):
        raise QueryError("what is cached of a Query is of type CachedPrompt, or None")
    return query


def _parse_message(where: str, value: Any, unsupported: str) -> Message:
    if isinstance(value, Message):
        if value.role not in ROLES.values() or not isinstance(value.content, str):
            known = ", ".join(dict.fromkeys(ROLES.values()))
            raise QueryError(f"'{where}' is no message: its role is one of {known}; its content, text")
        return value
    if not isinstance(value, Mapping):
        raise_wrong_type(where, "an object with role and content", value)
    role = value.get("role")
    if role == "function" or value.get("function_call") or value.get("audio"):
        raise QueryError(f"'{where}' is a function's of the older API or contains audio: {unsupported}", where)
    if not isinstance(role, str) or role not in ROLES:
        raise QueryError(f"'{where}.role' must be one of {', '.join(ROLES)}", f"{where}.role")
    content = value.get("content")
    if role == "tool":
        return _parse_tool_result(where, value, unsupported)
    if role == "assistant" and value.get("tool_calls"):
        return _parse_tool_calls(where, value, unsupported)
    if isinstance(content, str):
        return Message(ROLES[role], content)
    if content is None and (role == "assistant" or "content" in value):  # without a text, as some clients keep it
        return Message(ROLES[role], refusal if isinstance(refusal := value.get("refusal"), str) else "")
    has_media = role == "user" and _has_media(f"{where}.content", content)
    text, marks = _parse_parts(f"{where}.content", content, unsupported, with_media=has_media)
    return Message(ROLES[role], text, marks, dict(value) if has_media else None)


def _has_media(where: str, parts: Any) -> bool:
    """Return whether a content holds images, audio or files. Raises QueryError where one is malformed."""
    if not isinstance(parts, list | tuple) or len(parts) > MAX_ENTRIES:
        return False
    are_media = [isinstance(p, Mapping) and check_media_part(f"{where}[{i}]", p) for i, p in enumerate(parts)]
    return any(are_media)


def _parse_tool_result(where: str, value: Mapping[str, Any], unsupported: str) -> Message:
    """Return the result of a tool; members are sent it as the caller wrote it."""
    if not isinstance(value.get("tool_call_id"), str):
        raise_wrong_type(f"{where}.tool_call_id", "a string", value.get("tool_call_id"))
    content = value.get("content")
    if content is None:  # endpoints want a text
        return Message("tool", "", body={**value, "content": ""})
    text = content if isinstance(content, str) else ""
    if not isinstance(content, str):
        text, _ = _parse_parts(f"{where}.content", content, unsupported)
    return Message("tool", text, body=dict(value))


def _parse_tool_calls(where: str, value: Mapping[str, Any], unsupported: str) -> Message:
    """Return a turn in which a model called tools; members are sent it as the caller wrote it."""
    calls = value.get("tool_calls")
    if not isinstance(calls, list | tuple):
        raise_wrong_type(f"{where}.tool_calls", "an array", calls)
    _check_count(f"{where}.tool_calls", calls)
    for i, call in enumerate(calls):
        if not isinstance(call, Mapping) or not isinstance(call.get("id"), str) or not call.get("id"):
            raise QueryError(f"'{where}.tool_calls[{i}]' must be an object with an id", f"{where}.tool_calls[{i}]")
    content = value.get("content")
    text = content if isinstance(content, str) else ""
    if content is not None and not isinstance(content, str):
        text, _ = _parse_parts(f"{where}.content", content, unsupported)
    return Message("assistant", text, body=dict(value))


def _parse_parts(
    where: str, parts: Any, unsupported: str, *, with_media: bool = False
) -> tuple[str, tuple[CacheMark, ...]]:
    """Return the text of all parts together, and their cache marks; `with_media`: some are images and the like."""
    if not isinstance(parts, list | tuple):
        raise_wrong_type(where, "a string or an array of text parts", parts)
    _check_count(where, parts)
    texts: list[str] = []
    length = 0
    marks: list[CacheMark] = []
    for i, part in enumerate(parts):
        if with_media and check_media_part(f"{where}[{i}]", part):
            continue
        texts.append(_parse_text_part(f"{where}[{i}]", part, unsupported))
        length += len(texts[-1])
        control = _parse_cache_control(f"{where}[{i}].cache_control", part.get("cache_control"), texts[-1])
        if control is not None:
            marks.append(CacheMark(length, control))
    return "".join(texts), tuple(marks)


def _parse_text_part(where: str, part: Any, unsupported: str) -> str:
    if not isinstance(part, Mapping):
        raise_wrong_type(where, "an object with type and text", part)
    if part.get("type") == "refusal" and isinstance(part.get("refusal"), str):  # of an assistant's turn
        return str(part["refusal"])
    if part.get("type") != "text":
        raise QueryError(
            f"'{where}' is not a text part; images, audio and files belong into user turns: {unsupported}", where
        )
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
