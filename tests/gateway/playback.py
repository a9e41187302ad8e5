"""The events of a translated API's stream, made from those of a method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from routemoa.clients.protocol.sse import SSEParser
from routemoa.core.events import AnswerDelta, AnswerReplaced, Done, Event
from routemoa.core.tools import ToolCall
from routemoa.core.usage import Usage
from routemoa.gateway.api import ApiRequest
from routemoa.gateway.chat_api.responses import ChatCompletion
from routemoa.gateway.errors import ErrorResponse

MARKER = "\n\n---\n\nBetter:\n\n"
CALLS: tuple[Event, ...] = (
    AnswerDelta("I look."),
    Done(0.1, Usage(3, 4), None, "tool_calls", tool_calls=(ToolCall("f", '{"a":1}', "c1"), ToolCall("g", "{}", "c2"))),
)
REPLACED: tuple[Event, ...] = (
    AnswerDelta("It is 5."),
    AnswerReplaced("the judges prefer b", "a", MARKER),
    AnswerDelta("It is 4."),
    Done(0.1, Usage(3, 4), None, "stop"),
)


def play(
    request: ApiRequest, events: Sequence[Event], error: ErrorResponse | None = None, mode: Any = "final"
) -> list[dict[str, Any]]:
    """The events in order, each of whose names is its type; with `error` the stream fails."""
    encoder = request.new_encoder(ChatCompletion("routemoa", mode))
    data = b"".join(map(encoder.encode_event, events))
    return read_events(data + (encoder.encode_end() if error is None else encoder.encode_error(error)))


def read_events(data: bytes) -> list[dict[str, Any]]:
    """Decode a stream."""
    events = []
    for text, name in SSEParser().feed(data):
        event = msgspec.json.decode(text)
        assert event["type"] == name
        events.append(event)
    return events


def whole(request: ApiRequest, events: Sequence[Event]) -> dict[str, Any]:
    """The answer in one piece."""
    completion = ChatCompletion("routemoa")
    for event in events:
        completion.add(event)
    return request.to_body(completion)
