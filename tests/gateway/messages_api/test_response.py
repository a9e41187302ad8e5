"""Streams of the Messages API, event by event, and the same answers in one piece."""

from __future__ import annotations

from typing import Any

import pytest

from routemoa.core.events import AnswerDelta, Done, Event
from routemoa.core.usage import Usage
from routemoa.gateway.api import ApiRequest
from routemoa.gateway.errors import ErrorResponse
from routemoa.gateway.http_exchange.error_shapes import shape_error, shape_error_at
from routemoa.gateway.messages_api import MessagesApi
from routemoa.gateway.messages_api.response import MessageTranslator
from tests.gateway.playback import CALLS, MARKER, REPLACED, play, read_events, whole

TEXT: tuple[Event, ...] = (AnswerDelta("Hel"), AnswerDelta("lo."), Done(0.1, Usage(9, 4, 6), None, "stop"))


def request(**fields: Any) -> ApiRequest:
    return MessagesApi().read(
        {"model": "routemoa", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], **fields}
    )


def brief(event: dict[str, Any]) -> tuple[Any, ...]:
    """What matters of an event."""
    shown: list[Any] = [event["index"]] if "index" in event else []
    if (block := event.get("content_block")) is not None:
        shown.append(block)
    shown += [v for k, v in event.get("delta", {}).items() if k not in ("type", "stop_sequence")]
    return (event["type"], *shown)


def text_block(index: int, *texts: str) -> list[tuple[Any, ...]]:
    deltas = [("content_block_delta", index, t) for t in texts]
    return [
        ("content_block_start", index, {"type": "text", "text": ""}),
        *deltas,
        ("content_block_stop", index),
    ]


def call_block(index: int, id_: str, name: str, arguments: str) -> list[tuple[Any, ...]]:
    return [
        ("content_block_start", index, {"type": "tool_use", "id": id_, "name": name, "input": {}}),
        ("content_block_delta", index, arguments),
        ("content_block_stop", index),
    ]


def end(reason: str) -> list[tuple[Any, ...]]:
    return [("message_delta", reason), ("message_stop",)]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (TEXT, [*text_block(0, "Hel", "lo."), *end("end_turn")]),
        (
            CALLS,
            [
                *text_block(0, "I look."),
                *call_block(1, "c1", "f", '{"a":1}'),
                *call_block(2, "c2", "g", "{}"),
                *end("tool_use"),
            ],
        ),
        ((AnswerDelta("Hel"), Done(0.1, None, None, "length")), [*text_block(0, "Hel"), *end("max_tokens")]),
        ((AnswerDelta("Hel"), Done(0.1, None, None, "content_filter")), [*text_block(0, "Hel"), *end("refusal")]),
        (
            (AnswerDelta("No."), Done(0.1, None, None, "stop", refusal=True)),
            [*text_block(0, "No."), *end("end_turn")],
        ),
        ((Done(0.1, None, None, "stop"),), end("end_turn")),
    ],
    ids=["text", "calls", "cut", "filter", "refusal", "nothing"],
)
def test_streams(events: tuple[Event, ...], expected: list[Any]) -> None:
    played = play(request(), events)
    assert [brief(e) for e in played] == [("message_start",), *expected]
    message, same = played[0]["message"], whole(request(), events)
    assert (message["role"], message["model"], message["content"]) == ("assistant", "routemoa", [])
    assert [b["type"] for b in same["content"]] == [b[2]["type"] for b in expected if b[0] == "content_block_start"]
    assert same["stop_reason"] == played[-2]["delta"]["stop_reason"]
    assert same["usage"] == played[-2]["usage"]


def test_calls_in_one_piece() -> None:
    content = whole(request(), CALLS)["content"]
    assert content == [
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}},
        {"type": "tool_use", "id": "c2", "name": "g", "input": {}},
    ]


def test_another_answer_follows_in_the_same_text() -> None:
    played = play(request(), REPLACED, mode="leader")
    assert [brief(e) for e in played][1:] == [*text_block(0, "It is 5.", MARKER, "It is 4."), *end("end_turn")]


def test_cached_tokens_are_beside_the_prompt() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 6}}
    translator = MessageTranslator({"id": "chatcmpl-1", "model": "m"}, 50)
    assert translator.build()["usage"] == {"input_tokens": 50, "output_tokens": 0}
    translator.add({"choices": [], "usage": usage})
    assert translator.build()["usage"] == {"input_tokens": 3, "output_tokens": 4, "cache_read_input_tokens": 6}


def test_unknown_counts_are_estimated() -> None:
    played = play(request(), (AnswerDelta("Hello there!"), Done(0.1, Usage(None, None), None, "stop")))
    assert played[0]["message"]["usage"] == {"input_tokens": 16, "output_tokens": 0}
    assert played[-2]["usage"]["output_tokens"] == 3


def test_thoughts_of_chunks() -> None:
    translator = MessageTranslator({"id": "chatcmpl-1", "model": "m"}, 1)
    deltas: list[dict[str, Any]] = [{"reasoning_content": "Hm"}, {"reasoning_content": "m"}, {"content": "A"}]
    data = b"".join(translator.add({"choices": [{"delta": d}]}) for d in deltas) + translator.end()
    assert [brief(e) for e in read_events(data)][1:6] == [
        ("content_block_start", 0, {"type": "thinking", "thinking": "", "signature": ""}),
        ("content_block_delta", 0, "Hm"),
        ("content_block_delta", 0, "m"),
        ("content_block_stop", 0),
        ("content_block_start", 1, {"type": "text", "text": ""}),
    ]
    assert translator.build()["content"][0] == {"type": "thinking", "thinking": "Hmm", "signature": ""}


def test_keep_alive_begins_the_stream() -> None:
    translator = MessageTranslator({"id": "chatcmpl-1", "model": "m"}, 1)
    assert [e["type"] for e in read_events(translator.keep_alive())] == ["message_start", "ping"]
    assert [e["type"] for e in read_events(translator.keep_alive())] == ["ping"]


def test_a_failure_ends_the_stream() -> None:
    played = play(request(), TEXT[:1], ErrorResponse(502, "It broke off.", code="answer_interrupted"))
    assert played[-1] == {"type": "error", "error": {"type": "api_error", "message": "It broke off."}}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (405, "invalid_request_error"),
        (413, "request_too_large"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
    ],
)
def test_errors_have_their_names(status: int, kind: str) -> None:
    response = ErrorResponse(status, "m")
    assert shape_error(response) == {"type": "error", "error": {"type": kind, "message": "m"}}
    assert shape_error_at("/v1/messages/x", response) == shape_error(response)
    assert shape_error_at("/v1/models", response) == response.body
