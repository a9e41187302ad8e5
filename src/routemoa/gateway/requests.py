"""What callers ask of a mixture: OpenAI chat JSON to a Query. Pure; `reply` is the way back.

A mixture honours only what every model behind it can be asked to do; everything else is refused by name, so that
nobody believes it was heard. Nothing in a body reaches an endpoint, a file or a key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import msgspec
from msgspec import Struct

from routemoa.core.errors import QueryError
from routemoa.core.types import CacheControl, CacheMark, Message, Query

__all__ = ["ChatRequest", "parse_chat_request"]

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
INSTEAD = "a mixture cannot do this yet; name one model of the pool as `model` instead (GET /v1/models)"
INT64 = 2**63
MARKS = 4  # that a prompt may carry at most, by the providers that read them


class ChatRequest(Struct, frozen=True):
    """A chat completion asked of a mixture."""

    query: Query
    stream: bool = False
    include_usage: bool = False  # a stream ends with a chunk of token counts


def parse_chat_request(body: Mapping[str, Any]) -> ChatRequest:
    """Read a request for a mixture.

    Raises:
        QueryError: it is malformed or asks for what a mixture cannot do; `param` names the field.
    """
    parameters: dict[str, Any] = {}
    for name, value in body.items():
        if name in SAMPLING:
            if value is not None:
                parameters[name] = SAMPLING[name](name, value)
        elif name in REFUSED:
            if value not in REFUSED[name]:
                raise QueryError(f"'{name}': {INSTEAD}", name)
        elif name not in READ and name not in IGNORED:
            raise QueryError(f"Unrecognized request argument supplied: {name[:100]}", name[:100])
    _response_format(body.get("response_format"))
    stream = _flag(body, "stream")
    return ChatRequest(Query(_messages(body.get("messages")), parameters), stream, _include_usage(body, stream))


def _messages(given: Any) -> tuple[Message, ...]:
    if not isinstance(given, list):
        _wrong("messages", "an array of messages", given)
    if not given:
        raise QueryError("'messages' is empty; give at least one message", "messages")
    read = tuple(_message(f"messages[{i}]", m) for i, m in enumerate(given))
    if not any(m.content.strip() for m in read):
        raise QueryError("'messages' holds no text; there is nothing to answer", "messages")
    if sum(len(m.marks) for m in read) > MARKS:
        raise QueryError(f"'messages' carries more than {MARKS} cache_control marks; leave some out", "messages")
    return read


def _message(where: str, given: Any) -> Message:
    if not isinstance(given, dict):
        _wrong(where, "an object with role and content", given)
    role = given.get("role")
    if role in ("tool", "function") or given.get("tool_calls") or given.get("function_call") or given.get("audio"):
        raise QueryError(f"'{where}' belongs to a tool call or carries audio: {INSTEAD}", where)
    if not isinstance(role, str) or role not in ROLES:
        raise QueryError(f"'{where}.role' must be one of {', '.join(ROLES)}", f"{where}.role")
    return _content(ROLES[role], f"{where}.content", given.get("content"))


def _content(role: str, where: str, given: Any) -> Message:
    if isinstance(given, str):
        return Message(role, given)
    if not isinstance(given, list):
        _wrong(where, "a string or an array of text parts", given)
    text, marks = "", []
    for i, part in enumerate(given):
        piece = _part(f"{where}[{i}]", part)
        text += piece
        if (control := _cache_control(f"{where}[{i}].cache_control", part.get("cache_control"), piece)) is not None:
            marks.append(CacheMark(len(text), control))
    return Message(role, text, tuple(marks))


def _cache_control(where: str, given: Any, text: str) -> CacheControl | None:
    """What a part asks of a provider's cache; members whose endpoint does not know such marks get the text alone."""
    if given is None:
        return None
    if not isinstance(given, dict):
        _wrong(where, "an object with type", given)
    try:
        control = msgspec.convert(given, CacheControl)
    except msgspec.ValidationError as e:
        wanted = '{"type": "ephemeral"}, with "ttl": "5m" or "1h" where the cache shall keep it for so long'
        raise QueryError(f"'{where}' must be {wanted}", where) from e
    if not text:
        raise QueryError(f"'{where}' marks an empty text; put it on a part that has one", where)
    return control


def _part(where: str, part: Any) -> str:
    if not isinstance(part, dict):
        _wrong(where, "an object with type and text", part)
    if part.get("type") != "text":
        raise QueryError(f"'{where}' is no text part; images, audio and files: {INSTEAD}", where)
    text = part.get("text")
    if not isinstance(text, str):
        _wrong(f"{where}.text", "a string", text)
    return text


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        _wrong(name, "a boolean", value)
    return bool(value)


def _include_usage(body: Mapping[str, Any], stream: bool) -> bool:
    options = body.get("stream_options")
    if options is None:
        return False
    if not isinstance(options, dict):
        _wrong("stream_options", "an object", options)
    if not stream:
        raise QueryError("'stream_options' goes only with stream: true", "stream_options")
    wanted = options.get("include_usage")
    if wanted is not None and not isinstance(wanted, bool):
        _wrong("stream_options.include_usage", "a boolean", wanted)
    return bool(wanted)


def _response_format(given: Any) -> None:
    if given is not None and not isinstance(given, dict):
        _wrong("response_format", "an object", given)
    if given is not None and given.get("type") != "text":
        raise QueryError(f"'response_format' other than text: {INSTEAD}", "response_format")


def _number(low: float, high: float) -> Callable[[str, Any], float]:
    def check(name: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            _wrong(name, "a number", value)
        if not low <= value <= high:
            raise QueryError(f"'{name}' is {value}; it must be from {low:g} to {high:g}", name)
        return value

    return check


def _integer(low: int) -> Callable[[str, Any], int]:
    def check(name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            _wrong(name, "an integer", value)
        if not low <= value < INT64:
            raise QueryError(f"'{name}' is out of range; it must be at least {low} and fit in 64 bits", name)
        return value

    return check


def _stop(name: str, value: Any) -> str | list[str]:
    sequences = value if isinstance(value, list) else [value]
    if not all(isinstance(s, str) for s in sequences):
        _wrong(name, "a string or an array of strings", value)
    if not 1 <= len(sequences) <= 4 or "" in sequences:
        raise QueryError(f"'{name}' takes from 1 to 4 sequences, none of them empty", name)
    checked: str | list[str] = value
    return checked


def _wrong(where: str, wanted: str, given: Any) -> NoReturn:
    """A value of the wrong type; the value itself is not repeated, only what kind it is."""
    raise QueryError(f"Invalid type for '{where}': expected {wanted}, but got {KINDS[type(given)]} instead.", where)


KINDS = {
    dict: "an object",
    list: "an array",
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}
SAMPLING: dict[str, Callable[[str, Any], Any]] = {
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
    "presence_penalty": _number(-2, 2),
    "frequency_penalty": _number(-2, 2),
    "max_tokens": _integer(1),
    "max_completion_tokens": _integer(1),
    "seed": _integer(-INT64),
    "stop": _stop,
}
READ = {"model", "messages", "stream", "stream_options", "response_format"}
IGNORED = {"user", "metadata", "safety_identifier", "prompt_cache_key"}  # say who asks, never how to answer
REFUSED: dict[str, tuple[Any, ...]] = {  # field -> the harmless values, which ask for nothing
    "n": (None, 1),
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "parallel_tool_calls": (None, True, False),
    "functions": (None, []),
    "function_call": (None, "none", "auto"),
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "logit_bias": (None, {}),
    "modalities": (None, ["text"]),
    "audio": (None,),
    "prediction": (None,),
    "reasoning_effort": (None,),
    "verbosity": (None,),
    "web_search_options": (None,),
    "service_tier": (None, "auto", "default"),
    "store": (None, False),
}
