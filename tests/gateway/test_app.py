"""The running server, called with the official SDK over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai import OpenAI

from routemoa.core.errors import AllModelsFailed
from routemoa.core.events import AggregatorFailed, AnswerDelta, Done, ProposalStarted
from routemoa.core.failure_kind import FailureKind
from routemoa.core.trace import Failure
from routemoa.core.types import ModelSpec
from routemoa.core.usage import Usage
from routemoa.testing import FakeEndpoint, Fault
from tests.gateway.harness import ANSWER, HI, Script, dechunked, serving

LIMITED = Failure("a", "HTTP 429: slow down", FailureKind.HTTP_ERROR, Usage(0, 0, 0, 0), 0.1, 0.0, 429)


async def test_lists_the_mixture_and_the_pool() -> None:
    async with serving(Script()) as s:
        assert [m.id async for m in s.sdk.models.list()] == ["routemoa", "a", "b/c"]
        assert (await s.sdk.models.retrieve("b/c")).id == "b/c"
        with pytest.raises(openai.NotFoundError) as caught:
            await s.sdk.models.retrieve("unknown")
        assert caught.value.code == "model_not_found"
        health = await s.sdk.get("../healthz", cast_to=object)
        assert health == {"status": "ok"}


async def test_a_whole_answer() -> None:
    async with serving(Script(ProposalStarted(1, "a"), *ANSWER)) as s:
        done = await s.sdk.chat.completions.create(model="routemoa", messages=HI, temperature=0.5)
        assert done.choices[0].message.content == "Hello."
        assert done.choices[0].finish_reason == "length"
        assert done.usage is not None
        assert (done.usage.prompt_tokens, done.usage.completion_tokens, done.usage.total_tokens) == (3, 4, 7)
        assert done.model == "routemoa"
        assert done.id.startswith("chatcmpl-")
        assert done.model_extra is not None
        assert done.model_extra["routemoa"]["cost"] == 0.5
        assert done.model_extra["routemoa"]["calls"] == 1


def ask_twice(url: str) -> tuple[str | None, str]:
    with OpenAI(base_url=url, api_key="unused", max_retries=0) as sdk:
        whole = sdk.chat.completions.create(model="routemoa", messages=HI).choices[0].message.content
        stream = sdk.chat.completions.create(model="routemoa", messages=HI, stream=True)
        return whole, "".join(c.choices[0].delta.content or "" for c in stream)


async def test_the_synchronous_sdk() -> None:
    async with serving(Script(*ANSWER)) as s:
        assert await asyncio.to_thread(ask_twice, s.url) == ("Hello.", "Hello.")


async def test_a_streamed_answer() -> None:
    async with serving(Script(*ANSWER)) as s:
        stream = await s.sdk.chat.completions.create(
            model="routemoa", messages=HI, stream=True, stream_options={"include_usage": True}
        )
        chunks = [c async for c in stream]
        assert chunks[0].choices[0].delta.role == "assistant"
        assert "".join(c.choices[0].delta.content or "" for c in chunks[:-1]) == "Hello."
        assert [c.choices[0].finish_reason for c in chunks[:-1]] == [None, None, None, "length"]
        assert chunks[-1].choices == []
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.total_tokens == 7
        assert all(c.usage is None for c in chunks[:-1])
        assert len({c.id for c in chunks}) == 1
        raw = await (await s.raw({"model": "routemoa", "messages": HI, "stream": True})).all()
        assert raw.count(b"data: ") == 5
        assert b'"usage"' not in raw, "it was not asked for"
        assert raw.rstrip(b"\r\n0").endswith(b"data: [DONE]")


async def test_the_real_mixture_whole_and_streamed() -> None:
    async with FakeEndpoint("The answer is 4.") as e, serving(endpoint=e.url) as s:
        done = await s.sdk.chat.completions.create(model="routemoa", messages=HI)
        assert done.choices[0].message.content == "The answer is 4."
        assert done.model_extra is not None
        assert sorted(done.model_extra["routemoa"]["proposers"]) == ["a", "b/c"]
        stream = await s.sdk.chat.completions.create(model="routemoa", messages=HI, stream=True)
        text = "".join([c.choices[0].delta.content or "" async for c in stream])
        assert text == "The answer is 4."


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("steps", "error", "code"),
    [
        ([0.01, AllModelsFailed([LIMITED])], openai.RateLimitError, "no_model_left"),
        ([AllModelsFailed([])], openai.InternalServerError, "no_model_left"),
        ([KeyError("inside")], openai.InternalServerError, "internal_error"),
        ([], openai.InternalServerError, "internal_error"),  # ended without Done
    ],
)
async def test_an_early_failure_has_its_status(
    steps: list[Any], error: type[openai.APIStatusError], code: str, stream: bool
) -> None:
    async with serving(Script(*steps)) as s:
        with pytest.raises(error) as caught:
            await s.sdk.chat.completions.create(model="routemoa", messages=HI, stream=stream)
        assert caught.value.code == code
        assert "inside" not in str(caught.value)


@pytest.mark.parametrize("trouble", [AggregatorFailed(LIMITED), RuntimeError("inside")])
async def test_a_late_failure_is_an_error_in_the_stream(trouble: Any) -> None:
    method = Script(AnswerDelta("Hel"), trouble, AnswerDelta("Other"), Done(0.1))
    async with serving(method) as s:
        stream = await s.sdk.chat.completions.create(model="routemoa", messages=HI, stream=True)
        seen: list[str | None] = []
        with pytest.raises(openai.APIError) as caught:
            await _read_into(seen, stream)
        assert seen == ["", "Hel"]
        assert "inside" not in str(caught.value)
        raw = await (await s.raw({"model": "routemoa", "messages": HI, "stream": True})).all()
        assert b"[DONE]" not in raw
        assert raw.endswith(b"0\r\n\r\n"), "the response itself ends in order"


async def test_what_a_failed_aggregator_wrote_is_not_in_a_whole_answer() -> None:
    async with serving(Script(AnswerDelta("Hel"), AggregatorFailed(LIMITED), AnswerDelta("Other"), Done(0.1))) as s:
        done = await s.sdk.chat.completions.create(model="routemoa", messages=HI)
        assert done.choices[0].message.content == "Other"


async def test_wrong_requests_get_openai_shaped_errors() -> None:
    async with serving(Script(*ANSWER), body_limit=2000) as s:
        create: Any = s.sdk.chat.completions.create
        with pytest.raises(openai.NotFoundError) as missing:
            await create(model="gpt-9", messages=HI)
        assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
        assert "routemoa, a, b/c" in str(missing.value)
        with pytest.raises(openai.BadRequestError) as wrong:
            await create(model="routemoa", messages=HI, temperature=3)
        assert wrong.value.param == "temperature"
        with pytest.raises(openai.APIStatusError) as large:
            await create(model="routemoa", messages=[{"role": "user", "content": "x" * 3000}])
        assert large.value.status_code == 413
        with pytest.raises(openai.NotFoundError, match="moderations"):
            await s.sdk.moderations.create(input="x")
        with pytest.raises(openai.APIStatusError) as method:
            await s.sdk.get("/chat/completions", cast_to=object)
        assert method.value.status_code == 405
        assert method.value.response.headers["allow"] == "POST"
        for path in ("/models/", "/models"):
            assert await s.sdk.get(path, cast_to=object)
        slashed = await (await s.raw({"model": "routemoa", "messages": HI}, "/chat/completions/")).all()
        assert slashed.startswith(b"HTTP/1.1 200")


async def test_a_large_body_refused_halfway_still_gets_a_response() -> None:
    async with serving(Script(*ANSWER), body_limit=1_000_000) as s:
        body = {"model": "routemoa", "messages": [{"role": "user", "content": "x" * 5_000_000}]}
        assert (await (await s.raw(body)).all()).startswith(b"HTTP/1.1 413")


async def test_a_member_is_passed_through_untouched() -> None:
    async with FakeEndpoint("Grüße, 世界") as e, serving(endpoint=e.url) as s:
        body = {"model": "b/c", "messages": HI, "n": 1, "tools": [{"x": 1}], "future": {"k": [1.5, None]}}
        for stream in (False, True):
            raw = await (await s.raw({**body, "stream": stream})).all()
            head, _, rest = raw.partition(b"\r\n\r\n")
            got = dechunked(rest) if stream else rest
            arguments = (
                ModelSpec("b/c", e.url, "upstream-b/c"),
                {**body, "stream": stream},
                s.client.new_retry(ModelSpec("b/c", e.url)).deadline,
            )
            direct = await s.client.forward(*arguments)
            expected = b""
            while chunk := await direct.read():
                expected += chunk
            assert direct.content_type.encode() in head
            direct.close()
            assert _undated(got) == _undated(expected)
        assert e.requests[0] == {**body, "stream": False, "model": "upstream-b/c"}
        assert e.requests[0] == {**e.requests[1], "stream": False}


async def test_unknown_fields_reach_no_member_through_a_mixture() -> None:
    async with FakeEndpoint() as e, serving(endpoint=e.url) as s:
        with pytest.raises(openai.BadRequestError, match="Unrecognized request argument supplied: future"):
            await s.sdk.chat.completions.create(model="routemoa", messages=HI, extra_body={"future": 1})
        await s.sdk.chat.completions.create(model="routemoa", messages=HI, user="me", temperature=0.3)
        assert e.requests
        for request in e.requests:
            assert set(request) == {"model", "messages", "temperature", "stream", "stream_options"}


@pytest.mark.parametrize(
    ("fault", "status", "passed_on"),
    [
        (Fault(status=400, message="too long"), 400, True),
        (Fault(status=429, message="slow down", retry_after="3"), 429, True),
        (Fault(status=500, message="broken"), 500, True),
        (Fault(status=401, message="bad key sk-secret"), 502, False),
        (Fault(status=403, message="not yours: sk-secret"), 502, False),
        (Fault(reset=True), 502, False),
    ],
)
async def test_a_members_errors(fault: Fault, status: int, passed_on: bool) -> None:
    async with FakeEndpoint(faults=fault) as e, serving(endpoint=e.url) as s:
        with pytest.raises(openai.APIStatusError) as caught:
            await s.sdk.chat.completions.create(model="a", messages=HI)
        assert caught.value.status_code == status
        assert (caught.value.type == "injected") == passed_on
        assert caught.value.response.headers.get("retry-after") == fault.retry_after
        for secret in ("sk-secret", e.url):
            assert secret not in caught.value.response.text


@pytest.mark.parametrize("quiet", [False, True])
async def test_a_members_stream_cut_short_ends_with_an_error(quiet: bool) -> None:
    fault = Fault(cut_after=2, quiet_cut=quiet)
    async with FakeEndpoint("one two three", faults=fault) as e, serving(endpoint=e.url) as s:
        events = (await (await s.raw({"model": "a", "messages": HI, "stream": True})).whole()).events
        assert events[1]["choices"][0]["delta"]["content"] == "one "
        assert events[-1]["error"]["code"] == "answer_interrupted"


def _undated(data: bytes) -> bytes:
    """Remove the digits of a time stamp, which may differ by a second."""
    before, mark, after = data.partition(b'"created": ')
    return before + mark + after.lstrip(b"0123456789") if b'"stream"' not in data else data


async def _read_into(seen: list[str | None], stream: AsyncIterator[Any]) -> None:
    async for chunk in stream:
        seen.append(chunk.choices[0].delta.content)
