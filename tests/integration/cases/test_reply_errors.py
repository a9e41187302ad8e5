"""Errors behind a good status: they fail, cost nothing, and keep their meaning, passed through or not (06 and 15)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.gateway.harness import HI
from tests.integration.cases.raw_endpoint import EVENT_STREAM, Raw, Reply, delta, say, send, setting, sse, text_of

JSON = "application/json"
PRICED: dict[str, Any] = {"input_price": 1.0, "output_price": 10.0}
NO = {"message": "prompt of 9000 tokens exceeds context 8192", "code": 400}


def as_event(body: Any) -> Reply:
    return send(sse(body), EVENT_STREAM)


ERRORS = [
    # reply, the status that it stands for, a part of what it says
    pytest.param(send(json.dumps({"error": NO}), JSON), 400, "9000 tokens", id="JSON"),
    pytest.param(send(json.dumps({"error": NO})), 400, "9000 tokens", id="JSON as event-stream"),
    pytest.param(send("\ufeff\r\n" + json.dumps({"error": NO}, indent=1)), 400, "9000 tokens", id="BOM"),
    pytest.param(as_event({"error": NO}), 400, "9000 tokens", id="event"),
    pytest.param(send(sse({"error": NO}), JSON), 400, "9000 tokens", id="event as JSON"),
    pytest.param(send(f"event: error\ndata: {json.dumps(NO)}\n\n"), 400, "9000 tokens", id="named event"),
    pytest.param(send("event: error\ndata: overloaded\n\n"), 502, "overloaded", id="named event, text"),
    pytest.param(send(f"error: {json.dumps({'error': NO})}\n\n"), 400, "9000 tokens", id="llama.cpp"),
    pytest.param(send(json.dumps([{"error": NO}]), JSON), 400, "9000 tokens", id="Gemini"),
    pytest.param(send(json.dumps({"object": "error", **NO}), JSON), 400, "9000 tokens", id="vLLM"),
    pytest.param(send(json.dumps({"detail": "no such route"}), JSON), 502, "no such route", id="FastAPI"),
    pytest.param(
        as_event({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}), 503, "busy", id="A"
    ),
    pytest.param(send(json.dumps({"error": "busy, wait", "code": 429}), JSON), 429, "busy, wait", id="flat"),
    pytest.param(
        as_event(
            {
                "choices": [
                    {"index": 0, "delta": {}, "finish_reason": "error", "error": {"code": 502, "message": "gone"}}
                ]
            }
        ),
        502,
        "gone",
        id="choice",
    ),
    pytest.param(
        send(json.dumps({"success": False, "errors": [{"message": "not today"}]}), JSON), 502, "not today", id="CF"
    ),
    pytest.param(send("<html><title>Bad gateway</title></html>", "text/html"), 502, "Bad gateway", id="HTML"),
    pytest.param(send("<!doctype html><title>Sign in</title>"), 502, "Sign in", id="HTML as event-stream"),
    pytest.param(send("upstream connect error", "text/plain"), 502, "upstream connect error", id="text"),
    pytest.param(send("", JSON), 502, "empty", id="empty"),
    pytest.param(send("", EVENT_STREAM), 502, "empty", id="empty stream"),
    pytest.param(send(": hello\n\n", EVENT_STREAM), 502, "", id="comment alone"),
]


@pytest.mark.parametrize(("reply", "status", "said"), ERRORS)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_member_fails_for_free_and_its_caller_hears_why(
    tmp_path: Path, reply: Reply, status: int, said: str, stream: bool
) -> None:
    async with setting(tmp_path, reply, **PRICED) as s:
        response = await s.ask("a", stream=stream)
        [call] = await s.calls()
    assert call.outcome != "ok"
    if b": hello" not in response.body:  # a comment was passed on: there was no error yet
        assert response.status == status
        assert said in response.body.decode()
        assert call.charged == 0.0


@pytest.mark.parametrize(("reply", "status", "said"), ERRORS)
async def test_in_a_mixture_the_next_model_answers_and_the_trace_says_why(
    tmp_path: Path, reply: Reply, status: int, said: str
) -> None:
    async with setting(tmp_path, reply, say("Paris"), **PRICED) as s:
        response = await s.ask()
        failed, answered = await s.calls()
        assert response.status == 200
        assert text_of(response) == "Paris"
        assert (failed.outcome != "ok", answered.outcome) == (True, "ok")
        if said:
            assert failed.charged == 0.0
    async with setting(tmp_path / "alone", reply, **PRICED) as s:
        response = await s.ask()
        assert response.status >= 400
        assert said in response.body.decode()


@pytest.mark.parametrize("stream", [False, True])
async def test_what_may_pass_is_tried_again_and_what_cannot_is_not(tmp_path: Path, stream: bool) -> None:
    replies = [{"error": {"message": "upstream is down", "code": 502}}, {"error": {"message": "no", "code": 400}}]
    for error, calls in zip(replies, (2, 1), strict=True):
        left = [error]

        def reply(body: dict[str, Any], left: list[Any] = left) -> Raw:
            return send(json.dumps(left.pop()), JSON)(body) if left else say("Paris")(body)

        async with setting(tmp_path / str(calls), reply, attempts=3) as s:
            response = await s.ask("a", stream=stream)
            assert len(s.endpoints[0].requests) == calls
            assert (response.status == 200) == (calls == 2)


async def test_an_error_in_the_middle_of_a_members_stream_is_passed_on_and_booked(tmp_path: Path) -> None:
    error = {"error": {"code": 502, "message": "provider disconnected"}, "choices": []}
    pieces: list[str | bytes | float] = [sse(delta({"content": "The"})), 0.1, sse(error), sse(delta({"content": "x"}))]
    async with setting(tmp_path, send(pieces), **PRICED) as s:
        response = await s.ask("a", stream=True)
        [call] = await s.calls()
    assert response.status == 200
    assert response.events[1:] == [error]
    assert call.outcome != "ok"
    assert call.charged, "tokens were written, and may be billed"


async def test_openais_client_raises_what_the_endpoint_said(tmp_path: Path) -> None:
    async with setting(tmp_path, as_event({"error": {"message": "slow down", "code": "rate_limit_exceeded"}})) as s:
        with pytest.raises(openai.RateLimitError, match="slow down"):
            await s.served.sdk.chat.completions.create(model="a", messages=HI, stream=True)


@pytest.mark.parametrize("content_type", [JSON, "text/plain", "application/octet-stream", EVENT_STREAM, ""])
@pytest.mark.parametrize("model", ["routemoa", "a"])
async def test_a_stream_is_one_whatever_its_header_says(tmp_path: Path, content_type: str, model: str) -> None:
    events = sse(delta({"content": "Pa"}), delta({"content": "ris"}), delta({}, "stop"), "[DONE]")
    for pieces in ([events], [events[i : i + 1] for i in range(len(events))], ["\n\n: hi\n", events]):
        async with setting(tmp_path / str(len(pieces)), send(pieces, content_type)) as s:
            response = await s.ask(model, stream=True)
            assert text_of(response) == "Paris"
            assert response.headers["content-type"].startswith(EVENT_STREAM)


@pytest.mark.parametrize("model", ["routemoa", "a"])
async def test_an_answer_in_one_piece_is_one_whatever_its_header_says(tmp_path: Path, model: str) -> None:
    body = {"choices": [{"index": 0, "message": {"content": "Paris"}, "finish_reason": "stop"}]}
    for content_type in (EVENT_STREAM, "text/plain", ""):
        async with setting(tmp_path / content_type[:4], send(json.dumps(body), content_type)) as s:
            assert (await s.ask(model)).json["choices"][0]["message"]["content"] == "Paris"


async def test_an_answer_beside_harmless_fields_is_an_answer(tmp_path: Path) -> None:
    more = {"error": None, "message": "ok", "code": 0, "detail": None, "success": True}
    events = sse(*({**delta({"content": p}), **more} for p in ("Pa", "ris")), {**delta({}, "stop"), **more}, "[DONE]")
    async with setting(tmp_path, send(events)) as s:
        assert text_of(await s.ask()) == "Paris"
        assert text_of(await s.ask("a", stream=True)) == "Paris"


async def test_events_that_end_with_their_line_are_read(tmp_path: Path) -> None:
    events = sse(delta({"content": "Pa"}), delta({"content": "ris"}), delta({}, "stop"), "[DONE]").replace("\n\n", "\n")
    async with setting(tmp_path, send(events)) as s:
        assert text_of(await s.ask()) == "Paris"
