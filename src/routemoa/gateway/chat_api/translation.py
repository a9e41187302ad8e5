"""Reads a request of another API that was put into the words of chat completions. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.chat.messages import JSON_KINDS, raise_wrong_type
from routemoa.core.errors import QueryError
from routemoa.gateway.chat_api.requests import ChatRequest, parse_chat_request

__all__ = ["Translation", "check_fields", "expect", "find_ignored", "move_media", "parse_translation"]

T = TypeVar("T")
SHOWN_BELOW = "[Shown in the user's message below.]"
"""Stands for a result that is no text."""


class Translation(Struct, frozen=True):
    """A request in the words of chat completions."""

    body: dict[str, Any]
    """Of a chat completion."""
    places: dict[str, str] = {}
    """Place in the body -> the place in the caller's request: `messages[1]` -> `input[0]`."""
    ignored: tuple[str, ...] = ()
    """The caller's fields that no model is sent, as they do not change the answer."""


def parse_translation(translation: Translation, *, pass_unknown: bool = False) -> ChatRequest:
    """Read the request; with `pass_unknown` fields that are not known are sent to the members.

    Raises:
        QueryError: it is malformed, or asks for what a mixture cannot do; `param` names the caller's own field.
    """
    try:
        request = parse_chat_request(translation.body, pass_unknown=pass_unknown)
        return replace(request, ignored=translation.ignored)
    except QueryError as e:
        raise _in_callers_words(e, translation.places) from e


def _in_callers_words(error: QueryError, places: Mapping[str, str]) -> QueryError:
    """Return the error with the caller's name of the field that it is about."""
    param = error.param or ""
    found = [p for p in places if param == p or param.startswith((f"{p}.", f"{p}["))]
    if not found:
        return error
    place = max(found, key=len)
    message = str(error).replace(f"'{place}", f"'{places[place]}")
    return QueryError(message, places[place] + param[len(place) :])


def expect(where: str, value: Any, kind: type[T]) -> T:
    """Return a value of the wanted JSON kind: dict, list, str, int or bool. Raises QueryError."""
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise_wrong_type(where, JSON_KINDS[kind], value)
    return value


def check_fields(body: Mapping[str, Any], ignored: Mapping[str, tuple[Any, ...]], why: str) -> None:
    """Refuse fields with a value that has an effect elsewhere and none here.

    Args:
        body: the request.
        ignored: field -> the values that have no effect.
        why: ends the sentence about another value.

    Raises:
        QueryError: a field has another value; `param` names it.
    """
    for name, values in ignored.items():
        if name in body and body[name] not in values:
            raise QueryError(f"'{name}': {why}", name)


def find_ignored(body: Mapping[str, Any], ignored: Mapping[str, tuple[Any, ...]]) -> tuple[str, ...]:
    """Return the fields of a request that are ignored, in order.

    Args:
        body: the request.
        ignored: field -> the values with which clients say that they do not set it.
    """
    return tuple(sorted(name for name, values in ignored.items() if name in body and body[name] not in values))


def move_media(messages: Sequence[dict[str, Any]], places: Sequence[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return messages whose results of tools are text, with the images and the like in them in a user's turn behind.

    A chat takes them there alone. The turn comes after all results of a turn, which follow their calls.

    Args:
        messages: of a chat.
        places: of each in the caller's request.
    """
    moved: list[dict[str, Any]] = []
    moved_places: list[str] = []
    waiting: list[dict[str, Any]] = []
    place = ""

    def add_turn() -> None:
        if waiting:
            moved.append({"role": "user", "content": list(waiting)})
            moved_places.append(place)
            waiting.clear()

    for message, at in zip(messages, places, strict=True):
        text = message
        if message.get("role") != "tool":
            add_turn()
        elif media := [p for p in _parts(message) if p.get("type") != "text"]:
            note = f"[What the tool call {message['tool_call_id']} returned:]"
            waiting += [{"type": "text", "text": note}, *media]
            left = [p for p in _parts(message) if p.get("type") == "text"]
            text, place = {**message, "content": left or SHOWN_BELOW}, at
        moved.append(text)
        moved_places.append(at)
    add_turn()
    return moved, moved_places


def _parts(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    return content if isinstance(content, list) else []
