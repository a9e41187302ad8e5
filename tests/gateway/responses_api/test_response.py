"""Streams of the Responses API, event by event, and the same answers in one piece."""

from __future__ import annotations

from typing import Any

import pytest

from routemoa.core.events import AnswerDelta, Done, Event
from routemoa.core.usage import Usage
from routemoa.gateway.api import ApiRequest
from routemoa.gateway.errors import ErrorResponse
from routemoa.gateway.responses_api import ResponsesApi
from routemoa.gateway.responses_api.response import ResponseTranslator, translate_usage
from tests.gateway.playback import CALLS, MARKER, REPLACED, play, read_events, whole

TEXT: tuple[Event, ...] = (AnswerDelta("Hel"), AnswerDelta("lo."), Done(0.1, Usage(3, 4), None, "stop"))
CUT: tuple[Event, ...] = (AnswerDelta("Hel"), Done(0.1, Usage(3, 4), None, "length"))
REFUSAL: tuple[Event, ...] = (AnswerDelta("No."), Done(0.1, Usage(3, 4), None, "stop", refusal=True))


def request(**fields: Any) -> ApiRequest:
    return ResponsesApi().read({"model": "routemoa", "input": "Hi", **fields})


def brief(event: dict[str, Any]) -> tuple[Any, ...]:
    """What matters of an event."""
    kind = event["type"].removeprefix("response.")
    shown: list[Any] = [
        event[key] for key in ("output_index", "content_index", "delta", "text", "refusal") if key in event
    ]
    if "arguments" in event:
        shown += [event["name"], event["arguments"]]
    if "item" in event:
        shown += [event["item"]["type"], event["item"]["status"]]
    if "part" in event:
        shown.append(event["part"]["type"])
    if "response" in event:
        shown.append(event["response"]["status"])
    return (kind, *shown)


BEGIN = [("created", "in_progress"), ("in_progress", "in_progress")]
MESSAGE = [("output_item.added", 0, "message", "in_progress"), ("content_part.added", 0, 0, "output_text")]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (
            TEXT,
            [
                *MESSAGE,
                ("output_text.delta", 0, 0, "Hel"),
                ("output_text.delta", 0, 0, "lo."),
                ("output_text.done", 0, 0, "Hello."),
                ("content_part.done", 0, 0, "output_text"),
                ("output_item.done", 0, "message", "completed"),
                ("completed", "completed"),
            ],
        ),
        (
            CUT,
            [
                *MESSAGE,
                ("output_text.delta", 0, 0, "Hel"),
                ("output_text.done", 0, 0, "Hel"),
                ("content_part.done", 0, 0, "output_text"),
                ("output_item.done", 0, "message", "incomplete"),
                ("incomplete", "incomplete"),
            ],
        ),
        (
            REFUSAL,
            [
                *MESSAGE,
                ("output_text.delta", 0, 0, "No."),
                ("output_text.done", 0, 0, "No."),
                ("content_part.done", 0, 0, "output_text"),
                ("content_part.added", 0, 1, "refusal"),
                ("refusal.delta", 0, 1, "No."),
                ("refusal.done", 0, 1, "No."),
                ("content_part.done", 0, 1, "refusal"),
                ("output_item.done", 0, "message", "completed"),
                ("completed", "completed"),
            ],
        ),
        (
            CALLS,
            [
                *MESSAGE,
                ("output_text.delta", 0, 0, "I look."),
                ("output_text.done", 0, 0, "I look."),
                ("content_part.done", 0, 0, "output_text"),
                ("output_item.done", 0, "message", "completed"),
                ("output_item.added", 1, "function_call", "in_progress"),
                ("function_call_arguments.delta", 1, '{"a":1}'),
                ("function_call_arguments.done", 1, "f", '{"a":1}'),
                ("output_item.done", 1, "function_call", "completed"),
                ("output_item.added", 2, "function_call", "in_progress"),
                ("function_call_arguments.delta", 2, "{}"),
                ("function_call_arguments.done", 2, "g", "{}"),
                ("output_item.done", 2, "function_call", "completed"),
                ("completed", "completed"),
            ],
        ),
    ],
    ids=["text", "cut", "refusal", "calls"],
)
def test_streams(events: tuple[Event, ...], expected: list[Any]) -> None:
    played = play(request(), events)
    assert [brief(e) for e in played] == [*BEGIN, *expected]
    assert [e["sequence_number"] for e in played] == list(range(len(played)))
    final, same = played[-1]["response"], whole(request(), events)
    assert [strip(item) for item in final["output"]] == [strip(item) for item in same["output"]]
    assert final["usage"] == same["usage"]
    assert final["status"] == same["status"]
    done = [e["item"] for e in played if e["type"] == "response.output_item.done"]
    assert final["output"] == done
    ids = {e["response"]["id"] for e in played if "response" in e}
    assert len(ids) == 1


def strip(item: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in item.items() if k != "id"}


def test_an_answer_that_does_not_stand_is_not_in_the_response() -> None:
    """Its item ends incomplete, with the line that says so; the answer has an item of its own."""
    played = play(request(), REPLACED, mode="leader")
    assert [brief(e) for e in played][2:] == [
        *MESSAGE,
        ("output_text.delta", 0, 0, "It is 5."),
        ("output_text.delta", 0, 0, MARKER),
        ("output_text.done", 0, 0, f"It is 5.{MARKER}"),
        ("content_part.done", 0, 0, "output_text"),
        ("output_item.done", 0, "message", "incomplete"),
        ("output_item.added", 1, "message", "in_progress"),
        ("content_part.added", 1, 0, "output_text"),
        ("output_text.delta", 1, 0, "It is 4."),
        ("output_text.done", 1, 0, "It is 4."),
        ("content_part.done", 1, 0, "output_text"),
        ("output_item.done", 1, "message", "completed"),
        ("completed", "completed"),
    ]
    (item,) = played[-1]["response"]["output"]
    assert item["content"][0]["text"] == "It is 4."


def test_a_failure_ends_the_stream() -> None:
    played = play(request(), TEXT[:1], ErrorResponse(502, "The answer broke off.", code="answer_interrupted"))
    assert [brief(e) for e in played[-2:]] == [("failed", "failed"), ("error",)]
    assert played[-2]["response"]["error"] == {"code": "answer_interrupted", "message": "The answer broke off."}
    assert played[-2]["response"]["output"] == []
    assert played[-1]["message"] == "The answer broke off."
    assert played[-1]["error"]["type"] == "server_error"


def test_the_request_is_repeated() -> None:
    fields = {"instructions": "Be brief.", "metadata": {"a": "b"}, "max_output_tokens": 9, "temperature": 0.5}
    body = whole(request(**fields), TEXT)
    assert {k: body[k] for k in fields} == fields
    assert (body["object"], body["model"], body["store"], body["tool_choice"]) == (
        "response",
        "routemoa",
        False,
        "auto",
    )
    assert body["incomplete_details"] is None
    assert whole(request(), CUT)["incomplete_details"] == {"reason": "max_output_tokens"}


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, None),
        ({"prompt_tokens": None, "completion_tokens": 4}, None),
        ({"prompt_tokens": 3, "completion_tokens": 4}, (3, 0, 4, 0, 7)),
        (
            {
                "prompt_tokens": 3,
                "completion_tokens": 4,
                "prompt_tokens_details": {"cached_tokens": 2},
                "completion_tokens_details": {"reasoning_tokens": 1},
            },
            (3, 2, 4, 1, 7),
        ),
    ],
)
def test_usage(usage: Any, expected: Any) -> None:
    counts = translate_usage(usage)
    if expected is None:
        assert counts is None
        return
    assert counts == {
        "input_tokens": expected[0],
        "input_tokens_details": {"cached_tokens": expected[1]},
        "output_tokens": expected[2],
        "output_tokens_details": {"reasoning_tokens": expected[3]},
        "total_tokens": expected[4],
    }


@pytest.mark.parametrize("answer", [[{"delta": {"content": "A"}}], [{"delta": {"content": "A"}}, {"delta": {}}]])
def test_thoughts_and_logprobs_of_chunks(answer: list[dict[str, Any]]) -> None:
    """Thoughts are an item before the message; log-probabilities go with the text, or follow it."""
    answer = [dict(chunk) for chunk in answer]
    translator = ResponseTranslator({"id": "chatcmpl-1", "created": 1, "model": "m"}, {}, {})
    token = {"token": "A", "logprob": -0.1, "top_logprobs": []}
    chunks: list[dict[str, Any]] = [
        {"delta": {"reasoning_content": "Hm"}},
        *answer,
        {"delta": {}, "finish_reason": "stop"},
    ]
    chunks[-2]["logprobs"] = {"content": [token]}
    data = b"".join(translator.add({"choices": [c]}) for c in chunks) + translator.end()
    assert [brief(e) for e in read_events(data)][2:9] == [
        ("output_item.added", 0, "reasoning", "in_progress"),
        ("content_part.added", 0, 0, "reasoning_text"),
        ("reasoning_text.delta", 0, 0, "Hm"),
        ("reasoning_text.done", 0, 0, "Hm"),
        ("content_part.done", 0, 0, "reasoning_text"),
        ("output_item.done", 0, "reasoning", "completed"),
        ("output_item.added", 1, "message", "in_progress"),
    ]
    assert translator.build()["output"][1]["content"][0]["logprobs"] == [token]


def test_keep_alive_begins_the_stream() -> None:
    translator = ResponseTranslator({"id": "chatcmpl-1", "created": 1, "model": "m"}, {}, {})
    first = translator.keep_alive()
    assert [brief(e) for e in read_events(first)] == BEGIN
    assert first.endswith(b": keep-alive\n\n")
    assert translator.keep_alive() == b": keep-alive\n\n"
