"""What a mixture accepts and refuses, how its events become completions, and what error responses contain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette

from routemoa.clients.http import HttpClient
from routemoa.core.content.cache_marks import CacheControl, CacheMark
from routemoa.core.errors import (
    AllModelsFailed,
    AnswerInterrupted,
    ModelHTTPError,
    ModelTimeout,
    QueryError,
    Unreachable,
)
from routemoa.core.events import AnswerDelta, Done, Event, Started
from routemoa.core.failure_kind import FailureKind
from routemoa.core.pool_file.pool import Pool
from routemoa.core.protocols import CallRecorder
from routemoa.core.trace import Answer, Failure
from routemoa.core.trace_builder import fold_events
from routemoa.core.types import Message, ModelSpec, Query, to_json
from routemoa.core.usage import Usage
from routemoa.gateway import create_app
from routemoa.gateway.chat_api.requests import parse_chat_request
from routemoa.gateway.chat_api.responses import ChatCompletion
from routemoa.gateway.chat_api.sse import ChunkEncoder
from routemoa.gateway.failures import error_response
from routemoa.mixture.engine import RouteMoA
from routemoa.testing import ScriptedClient

USER = {"role": "user", "content": "hi"}


def ask(**more: Any) -> dict[str, Any]:
    return {"model": "routemoa", "messages": [USER], **more}


def test_reads_a_conversation() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": parts},
        # an answer of ours, sent back as the SDK dumps it
        {"role": "assistant", "content": "c", "refusal": None, "tool_calls": None, "audio": None, "annotations": None},
        {"role": "user", "content": "d", "name": "eve"},
    ]
    assert parse_chat_request(ask(messages=messages)).query.messages == (
        Message("system", "Be brief."),
        Message("user", "ab"),
        Message("assistant", "c"),
        Message("user", "d"),
    )


def part(text: str, control: object = None) -> dict[str, object]:
    return {"type": "text", "text": text, **({"cache_control": control} if control is not None else {})}


def test_keeps_the_marks_of_a_prompt_cache() -> None:
    short, hour = {"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}
    parts = [part("Rules."), part(" More.", short), part(" Now", hour), part(" go.")]
    (message,) = parse_chat_request(ask(messages=[{"role": "user", "content": parts}])).query.messages
    assert message.content == "Rules. More. Now go."
    assert message.marks == (CacheMark(12, CacheControl("ephemeral")), CacheMark(16, CacheControl("ephemeral", "1h")))
    assert to_json(Message("user", "hi")) == b'{"role":"user","content":"hi"}'


@pytest.mark.parametrize(
    ("parts", "param"),
    [
        ([part("a", "ephemeral")], "messages[0].content[0].cache_control"),
        ([part("a", {"type": "forever"})], "messages[0].content[0].cache_control"),
        ([part("a", {"type": "ephemeral", "ttl": "2h"})], "messages[0].content[0].cache_control"),
        ([part("a", {"type": "ephemeral", "scope": "all"})], "messages[0].content[0].cache_control"),
        ([part("a", {})], "messages[0].content[0].cache_control"),
        ([part("a"), part("", {"type": "ephemeral"})], "messages[0].content[1].cache_control"),
        ([part("a", {"type": "ephemeral"})] * 5, "messages"),
    ],
)
def test_refuses_marks_that_no_provider_would_take(parts: list[object], param: str) -> None:
    with pytest.raises(QueryError, match="cache_control") as caught:
        parse_chat_request(ask(messages=[{"role": "user", "content": parts}]))
    assert caught.value.param == param


def test_sampling_parameters_go_along_and_nothing_else_does() -> None:
    sampling = {"temperature": 0.5, "top_p": 1, "max_tokens": 5, "max_completion_tokens": 6, "stop": ["x"], "seed": -1}
    penalties = {"presence_penalty": -2, "frequency_penalty": 2.0}
    harmless: dict[str, Any] = {"n": 1, "tools": None, "logprobs": False, "response_format": {"type": "text"}}
    harmless |= {"user": "u", "metadata": {"a": "b"}, "store": False, "modalities": ["text"], "functions": []}
    request = parse_chat_request(
        ask(**sampling, **penalties, **harmless, stream=True, stream_options={"include_usage": True})
    )
    assert request.query.parameters == sampling | penalties
    assert request.stream
    assert request.include_usage
    assert parse_chat_request(ask(temperature=None, stop=None, stream=None)).query.parameters == {}


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_completion_tokens": 2**64}, "max_completion_tokens"),
        ({"seed": 10**30}, "seed"),
        ({"stop": ["", "a"]}, "stop"),
        ({"stop": {}}, "stop"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stop": [1]}, "stop"),
        ({"stop": ["a", ""]}, "stop"),
        ({"max_tokens": -2}, "max_tokens"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"n": 9}, "n"),
        ({"n": 0}, "n"),
        ({"n": "2"}, "n"),
        ({"tools": [{"type": "function"}]}, "tools[0].function.name"),
        ({"functions": [{}]}, "functions"),
        ({"logprobs": 2}, "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"logit_bias": {"1": 101}}, "logit_bias.1"),
        ({"logit_bias": [1]}, "logit_bias"),
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
        ({"verbosity": 3}, "verbosity"),
        ({"top_k": 1.5}, "top_k"),
        ({"min_p": 2}, "min_p"),
        ({"repetition_penalty": -1}, "repetition_penalty"),
        ({"service_tier": "golden"}, "service_tier"),
        ({"prediction": {"type": "content"}}, "prediction"),
        ({"chat_template_kwargs": "x"}, "chat_template_kwargs"),
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
        ({"response_format": "text"}, "response_format"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": []}, "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"endpoint": "http://evil/v1"}, "endpoint"),
        ({"api_key_env": "HOME"}, "api_key_env"),
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [1]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": "  "}]}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": [], "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": None}]}, "messages"),
        ({"messages": [USER, {"role": "user", "content": 3}]}, "messages[1].content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].image_url"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "assistant", "content": "", "tool_calls": [{}]}]}, "messages[0].tool_calls[0]"),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages[0]"),
    ],
)
def test_refuses_what_it_cannot_honour_and_names_it(more: dict[str, Any], param: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse_chat_request(ask(**more))
    assert caught.value.param == param
    assert param.partition("[")[0].partition(".")[0] in str(caught.value)


@pytest.mark.parametrize("value", [None, [], "", [""]])
def test_a_stop_list_without_a_sequence_is_no_stop_list(value: Any) -> None:
    assert parse_chat_request(ask(stop=value)).query.parameters == {}


def test_what_another_model_could_do_says_so() -> None:
    with pytest.raises(QueryError, match="name one model of the pool"):
        parse_chat_request(ask(audio={"voice": "alloy", "format": "wav"}))


@pytest.mark.parametrize(
    ("ended", "told"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("tool_calls", "tool_calls"),
        (None, "stop"),
        ("strange", "stop"),
    ],
)
def test_unknown_usage_is_estimated_and_the_finish_reason_is_one_that_openai_knows(
    ended: str | None, told: str
) -> None:
    reply = ChatCompletion("routemoa")
    for event in (
        Started(Query.from_text("hi"), "routemoa"),
        AnswerDelta("x"),
        Done(1.0, Usage(3, None), None, ended),
    ):
        reply.add(event)
    whole = reply.to_completion()
    assert whole["usage"] == {"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3}
    assert whole["routemoa"]["usage_estimated"] is True
    assert whole["choices"][0]["finish_reason"] == told
    assert whole["choices"][0]["message"]["refusal"] is None
    assert whole["routemoa"]["cost"] is None


def test_a_refusal_says_so_and_is_readable_for_clients_that_do_not_know_it() -> None:
    reply = ChatCompletion("routemoa")
    encoder = ChunkEncoder(reply, include_usage=False)
    events = (Started(Query.from_text("hi"), "routemoa"), AnswerDelta("I cannot."), Done(1.0, refusal=True))
    data = b"".join(encoder.encode_event(event) for event in events) + encoder.encode_end()
    message = reply.to_completion()["choices"][0]["message"]
    assert (message["content"], message["refusal"]) == ("I cannot.", "I cannot.")
    deltas = [
        msgspec.json.decode(line[6:])["choices"][0]["delta"]
        for line in data.splitlines()
        if line.startswith(b"data: {")
    ]
    assert [d.get("refusal") for d in deltas].count("I cannot.") == 1
    assert "".join(d.get("content", "") for d in deltas) == "I cannot."


def test_cached_tokens_are_shown_where_they_are_known() -> None:
    for cached, wanted in ((40, {"prompt_tokens_details": {"cached_tokens": 40}}), (None, {})):
        reply = ChatCompletion("routemoa")
        for event in (
            Started(Query.from_text("hi"), "routemoa"),
            AnswerDelta("x"),
            Done(1.0, Usage(50, 3, cached), 0.0),
        ):
            reply.add(event)
        assert reply.to_completion()["usage"] == {
            "prompt_tokens": 50,
            "completion_tokens": 3,
            "total_tokens": 53,
            **wanted,
        }


def failure(kind: str, reason: str, status: int | None = None) -> Failure:
    return Failure("m", reason, FailureKind(kind), Usage(), 1.0, None, status)


SECRETIVE = "http://10.0.0.7:9/v1 cannot be reached: Connection refused"


@pytest.mark.parametrize(
    ("failures", "status"),
    [
        ([failure("TimedOut", "no first byte within 5 s")] * 2, 504),
        ([failure("Refused", "HTTP 429: slow down", 429)] * 2, 429),
        ([failure("Refused", "HTTP 429: slow down", 429), failure("Refused", "HTTP 503: busy", 503)], 503),
        ([failure("Refused", "HTTP 429: slow down", 429), failure("Unreachable", SECRETIVE)], 502),
        ([failure("Refused", "HTTP 401: bad key sk-1; check the key in OUR_KEY", 401)], 502),
        ([], 502),
    ],
)
def test_the_status_says_why_no_model_answered(failures: list[Failure], status: int) -> None:
    response = error_response(AllModelsFailed(failures))
    assert response.status == status
    for secret in ("10.0.0.7", "OUR_KEY", "sk-1"):
        assert secret not in response.message


def test_one_model_passed_through_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    assert error_response(ModelTimeout("m", "nothing came for 5 s")).status == 504
    response = error_response(Unreachable("m", SECRETIVE))
    assert (response.status, "10.0.0.7" in response.message) == (502, False)
    assert "10.0.0.7" in caplog.text, "the operator needs it"
    limited = error_response(ModelHTTPError("m", "HTTP 429", status=429, retry_after=6.6))
    assert (limited.status, limited.headers) == (429, {"retry-after": "7"})
    assert error_response(ModelHTTPError("m", "HTTP 401: no; check the key in K", status=401)).status == 502
    assert error_response(AnswerInterrupted(failure("Garbled", "cut"))).code == "answer_interrupted"


def test_the_log_quotes_no_query(caplog: pytest.LogCaptureFixture) -> None:
    error_response(AllModelsFailed([failure("Refused", "HTTP 400: the prompt 'my secret' is too long", 400)]))
    assert "HTTP 400" in caplog.text
    assert "my secret" not in caplog.text


def test_an_unexpected_error_shows_nothing_and_logs_everything(caplog: pytest.LogCaptureFixture) -> None:
    response = error_response(KeyError("internal"))
    assert response.status == 500
    assert "internal" not in response.message
    assert "KeyError" in caplog.text


class Echo:
    """A method that answers with the query's text at once."""

    name = "routemoa"

    async def stream(self, query: Query, recorder: CallRecorder | None = None) -> AsyncGenerator[Event, None]:
        yield Started(query, self.name)
        yield AnswerDelta(query.text)
        yield Done(0.0, finish_reason="stop")

    async def answer(self, query: Query) -> Answer:
        return fold_events([event async for event in self.stream(query)])


async def post(
    app: Starlette, data: bytes, kind: bytes = b"application/json", origin: bytes | None = None
) -> tuple[int, bytes]:
    """Send one POST in process; the caller stays connected until the response is complete."""
    sent: list[Any] = []
    pieces = [data[i : i + 1000] for i in range(0, len(data) or 1, 1000)]
    incoming: list[Any] = [{"type": "http.request", "body": p, "more_body": True} for p in pieces]
    incoming[-1]["more_body"] = False

    async def receive() -> Any:
        if not incoming:
            await asyncio.Event().wait()
        return incoming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    path = "/v1/chat/completions"
    headers = [(b"content-type", kind)] + ([(b"origin", origin)] if origin else [])
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "query_string": b""}
    await app({**scope, "root_path": "", "asgi": {"spec_version": "2.3"}, "scheme": "http"}, receive, send)
    return sent[0]["status"], b"".join(m.get("body", b"") for m in sent[1:])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
FIELDS = [
    "messages",
    "stream",
    "stream_options",
    "temperature",
    "stop",
    "seed",
    "n",
    "tools",
    "response_format",
    "user",
]
MESSAGE = st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": JSON})
BODY = st.fixed_dictionaries(
    {"model": st.just("routemoa") | JSON},
    optional={**dict.fromkeys(FIELDS, JSON), "messages": st.lists(MESSAGE | JSON, max_size=3) | JSON},
)
APP = create_app({"routemoa": Echo()}, Pool((ModelSpec("a", "http://127.0.0.1:9/v1", "a"),)), HttpClient())


@given(JSON | BODY)
@settings(deadline=None, max_examples=300)
def test_no_body_is_answered_with_a_500(body: Any) -> None:
    status, data = asyncio.run(post(APP, msgspec.json.encode(body)))
    assert status in (200, 400, 404)
    if status != 200:
        error = msgspec.json.decode(data)["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["type"] == "invalid_request_error"


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_no_bytes_are_answered_with_a_500(data: bytes) -> None:
    assert asyncio.run(post(APP, data))[0] in (200, 400, 404)


@pytest.mark.parametrize("data", [b"", b"{", b'"\\ud800', b"[" * 5000, b"1e999", b'{"model": 1e400}', b'{"a":"\xff"}'])
async def test_what_is_no_json_is_a_400(data: bytes) -> None:
    status, body = await post(APP, data)
    assert status == 400
    assert b"not valid JSON" in body


async def test_a_web_page_cannot_post_what_it_may_send_without_asking() -> None:
    body = msgspec.json.encode(ask())
    assert (await post(APP, body, b"text/plain", b"http://evil.example"))[0] == 415
    assert (await post(APP, body, b"application/json", b"http://app.example"))[0] == 200
    assert (await post(APP, body, b"application/x-www-form-urlencoded"))[0] == 200  # curl -d, from no page
    assert (await post(APP, body, b"Application/JSON; charset=utf-8"))[0] == 200


async def test_a_body_may_be_so_large_and_no_larger() -> None:
    body = msgspec.json.encode(ask(user="x" * 5000))
    pool = Pool((ModelSpec("a", "http://127.0.0.1:9/v1", "a"),))
    exact = create_app({"routemoa": Echo()}, pool, HttpClient(), body_limit=len(body))
    small = create_app({"routemoa": Echo()}, pool, HttpClient(), body_limit=len(body) - 1)
    assert (await post(exact, body))[0] == 200
    assert (await post(small, body))[0] == 413


async def test_a_conversation_without_a_user_turn_is_answered() -> None:
    spec = ModelSpec("a", "http://x/v1", "a", prior=0.9)
    mixture = RouteMoA(Pool((spec,)), ScriptedClient({"a": "Well."}))
    query = parse_chat_request(ask(messages=[{"role": "system", "content": "Say well."}])).query
    assert (await mixture.answer(query)).text == "Well."
