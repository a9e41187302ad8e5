"""The HTTP client over real sockets, against an endpoint that breaks the protocol in every way it can be broken."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from time import monotonic
from typing import Any

import pytest

from routemoa.clients.http import HttpClient
from routemoa.clients.retry import RetryPolicy
from routemoa.clients.transport.timeouts import Timeouts
from routemoa.core.errors import InvalidResponse, ModelError, ModelHTTPError, ModelTimeout, Unreachable
from routemoa.core.models.patience import Patience
from routemoa.core.types import Completion, Message, ModelSpec, Request
from routemoa.core.usage import Usage
from routemoa.testing import FakeEndpoint, Fault

TEXT = "Grüße aus Zürich — naïve façade, 日本語 and 👍 too."
ASK = Request((Message("user", "hi there"),))


class Naps(list[float]):
    """Sleeps that are noted instead of slept."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


def spec(endpoint: FakeEndpoint, **keys: Any) -> ModelSpec:
    return ModelSpec("m", endpoint.url, "real-name", **keys)


@asynccontextmanager
async def serving(*faults: Fault, always: Fault | None = None, **keys: Any) -> AsyncIterator[tuple[Any, ...]]:
    naps = Naps()
    async with FakeEndpoint(TEXT, always or faults) as endpoint:
        client = HttpClient(sleep=naps, jitter=lambda: 1.0, **keys)
        try:
            yield endpoint, client, naps
        finally:
            await client.close()


async def gather(client: HttpClient, model: ModelSpec, request: Request = ASK) -> tuple[list[str], Completion]:
    pieces = [p async for p in client.stream(model, request)]
    assert isinstance(pieces[-1], Completion)
    return [p for p in pieces[:-1] if isinstance(p, str)], pieces[-1]


@pytest.mark.parametrize(
    "fault",
    [Fault(), Fault(comments=True), Fault(sliced=True), Fault(sliced=True, comments=True), Fault(no_done=True)],
    ids=["plain", "comments", "sliced", "sliced comments", "no DONE"],
)
async def test_streams_survive_what_real_endpoints_do(fault: Fault) -> None:
    async with serving(fault) as (endpoint, client, _):
        deltas, completion = await gather(client, spec(endpoint))
    assert "".join(deltas) == completion.text == TEXT
    assert len(deltas) > 3
    assert completion.usage == Usage(2, len(TEXT.split()))
    assert completion.finish_reason == "stop"
    assert completion.first_token is not None
    assert completion.latency is not None
    assert 0 < completion.first_token <= completion.latency
    assert completion.tokens is None


async def test_log_probabilities_come_when_asked_for() -> None:
    async with serving() as (endpoint, client, _):
        _, completion = await gather(client, spec(endpoint), Request(ASK.messages, logprobs=True))
    assert completion.tokens is not None
    assert "".join(t.text for t in completion.tokens) == TEXT
    assert {t.logprob for t in completion.tokens} == {-0.25}


async def test_an_absent_usage_is_unknown() -> None:
    async with serving(Fault(no_usage=True)) as (endpoint, client, _):
        _, completion = await gather(client, spec(endpoint))
    assert completion.usage == Usage(None, None)


async def test_an_endpoint_that_does_not_stream_works_too() -> None:
    async with serving(Fault(whole=True)) as (endpoint, client, _):
        deltas, completion = await gather(client, spec(endpoint))
    assert deltas == [TEXT]
    assert completion.usage.completion_tokens == len(TEXT.split())


async def test_what_is_sent() -> None:
    member = {"system": "Be kind.", "parameters": {"temperature": 0.7, "max_tokens": 50}, "api_key_env": "KEY"}
    async with serving(env={"KEY": "sk-secret"}) as (endpoint, client, _):
        request = Request(
            ASK.messages, {"temperature": 0.1, "max_tokens": 20, "stop": ["x"]}, schema={"type": "object"}
        )
        await gather(client, spec(endpoint, **member), request)
    body = endpoint.requests[0]
    assert body["model"] == "real-name"
    assert body["messages"] == [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hi there"}]
    assert (body["temperature"], body["max_tokens"], body["stop"]) == (0.7, 20, ["x"])
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert body["stream_options"] == {"include_usage": True}
    assert endpoint.headers[0]["Authorization"] == "Bearer sk-secret"


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529])
async def test_passing_troubles_are_tried_again(status: int) -> None:
    async with serving(Fault(status=status), Fault(status=status)) as (endpoint, client, naps):
        _, completion = await gather(client, spec(endpoint))
    assert completion.text == TEXT
    assert len(endpoint.requests) == 3
    assert naps == [0.5, 1.0]  # full jitter at its largest, doubled


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
async def test_lasting_troubles_are_not(status: int) -> None:
    async with serving(always=Fault(status=status)) as (endpoint, client, naps):
        with pytest.raises(ModelHTTPError, match=f"HTTP {status}: injected") as caught:
            await gather(client, spec(endpoint))
    assert caught.value.status == status
    assert len(endpoint.requests) == 1
    assert naps == []


@pytest.mark.parametrize(
    ("value", "low", "high"), [("3", 3, 3.3), ("0", 0, 0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0)]
)
async def test_retry_after_is_honoured(value: str, low: float, high: float) -> None:
    async with serving(Fault(status=429, retry_after=value)) as (endpoint, client, naps):
        await gather(client, spec(endpoint))
    assert len(naps) == 1
    assert low <= naps[0] <= high + 1e-9


async def test_a_retry_after_beyond_the_deadline_is_not_waited_for() -> None:
    async with serving(Fault(status=429, retry_after="3600")) as (endpoint, client, naps):
        with pytest.raises(ModelHTTPError) as caught:
            await gather(client, spec(endpoint))
    assert caught.value.retry_after == 3600
    assert naps == []


async def test_a_lost_connection_is_tried_again_and_then_told() -> None:
    async with serving(Fault(reset=True), Fault(cut_after=0)) as (endpoint, client, _):
        _, completion = await gather(client, spec(endpoint))
        assert completion.text == TEXT
        assert len(endpoint.requests) == 3
    async with serving(always=Fault(reset=True)) as (endpoint, client, naps):
        with pytest.raises(Unreachable):
            await gather(client, spec(endpoint))
        assert len(naps) == 3


async def test_nobody_listens() -> None:
    client = HttpClient(retries=RetryPolicy(attempts=1))
    with pytest.raises(Unreachable, match=r"http://127.0.0.1:9/v1 cannot be reached: .*[Rr]efused"):
        await gather(client, ModelSpec("m", "http://127.0.0.1:9/v1", "m"))
    await client.close()


@pytest.mark.parametrize(
    "fault",
    [
        Fault(cut_after=4),
        Fault(cut_after=4, quiet_cut=True),
        Fault(error_after=4, between=0.01),
        Fault(error_after=4, error_code=500, between=0.01),
    ],
    ids=["connection cut", "ended early", "error object", "error object with a code"],
)
async def test_nothing_is_tried_again_after_the_first_token(fault: Fault) -> None:
    async with serving(fault) as (endpoint, client, naps):
        seen: list[str] = []

        async def read() -> None:
            async for piece in client.stream(spec(endpoint), ASK):
                assert isinstance(piece, str)
                seen.append(piece)

        with pytest.raises(ModelError) as caught:
            await read()
    assert seen
    assert TEXT.startswith("".join(seen))
    assert caught.value.produced
    assert len(endpoint.requests) == 1
    assert naps == []


async def test_garbage_is_garbled() -> None:
    async with serving(always=Fault(garbage=True)) as (endpoint, client, _):
        with pytest.raises(InvalidResponse):
            await gather(client, spec(endpoint))
    assert len(endpoint.requests) == 1


async def test_a_page_in_place_of_an_answer_is_an_error_that_may_pass() -> None:
    async with serving(always=Fault(garbage=True, whole=True)) as (endpoint, client, _):
        with pytest.raises(ModelHTTPError, match="an HTML page in place of an answer") as caught:
            await gather(client, spec(endpoint))
    assert caught.value.status == 502
    assert len(endpoint.requests) == 4


@pytest.mark.parametrize(
    ("fault", "timeouts", "words"),
    [
        (Fault(first_byte=5), Timeouts(first_byte=0.1), "no first byte within 0.1 s"),
        (Fault(between=5), Timeouts(idle=0.1), "nothing came for 0.1 s"),
        (Fault(between=0.05), Timeouts(total=0.2), "no answer within 0.2 s, all attempts together"),
    ],
)
async def test_timeouts(fault: Fault, timeouts: Timeouts, words: str) -> None:
    async with serving(always=fault, timeouts=timeouts) as (endpoint, client, _):
        with pytest.raises(ModelTimeout, match=words):
            await gather(client, spec(endpoint))
        await _soon(lambda: endpoint.open_requests == 0)


@pytest.mark.parametrize(
    ("fault", "patience", "words"),
    [
        (Fault(first_byte=5), Patience(first=0.1), "no first byte within 0.1 s"),
        (Fault(between=5), Patience(between=0.1), "nothing came for 0.1 s"),
        (Fault(between=0.05), Patience(total=0.2), "no answer within 0.2 s, all attempts together"),
        (Fault(first_byte=0.3), Patience(first=5.0), ""),
        (Fault(between=0.03), Patience(between=5.0, total=9.0), ""),
    ],
)
async def test_a_members_own_patience_goes_before_the_clients(fault: Fault, patience: Patience, words: str) -> None:
    short = Timeouts(first_byte=0.2, idle=0.02, total=0.5) if not words else Timeouts()
    async with serving(always=fault, timeouts=short) as (endpoint, client, _):
        if not words:
            assert (await gather(client, spec(endpoint, patience=patience)))[1].text == TEXT
            return
        with pytest.raises(ModelTimeout, match=words):
            await gather(client, spec(endpoint, patience=patience))


@pytest.mark.alone
async def test_an_address_that_swallows_connections_costs_the_time_to_connect_and_nothing_else() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        held = [socket.socket() for _ in range(4)]
        for waiting in held:  # its queue is full: what comes next gets no answer
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        await asyncio.sleep(0.1)
        client = HttpClient(retries=RetryPolicy(attempts=1))
        model = ModelSpec("m", f"http://127.0.0.1:{listening.getsockname()[1]}/v1", "m", patience=Patience(connect=0.3))
        begun = monotonic()
        with pytest.raises(ModelTimeout, match=r"no connection within 0.3 s") as caught:
            await gather(client, model)
        assert 0.25 < monotonic() - begun < 1.0
        assert not caught.value.may_be_billed
        await client.close()
        for waiting in held:
            waiting.close()


async def test_leaving_early_closes_the_connection() -> None:
    async with serving(always=Fault(between=0.02)) as (endpoint, client, _):
        async with aclosing(client.stream(spec(endpoint), ASK)) as pieces:
            await anext(pieces)
        await _soon(lambda: endpoint.gone == 1 and endpoint.open_connections == 0)


async def test_cancelling_closes_the_connection_before_the_first_byte_too() -> None:
    async with serving(always=Fault(first_byte=30)) as (endpoint, client, _):
        task = asyncio.create_task(gather(client, spec(endpoint)))
        await _soon(lambda: endpoint.open_requests == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await _soon(lambda: endpoint.gone == 1 and endpoint.open_connections == 0)


async def test_the_key_is_in_no_error() -> None:
    for fault in (Fault(status=401, message="bad key sk-secret"), Fault(error_after=1, message="sk-secret leaked")):
        async with serving(always=fault, env={"KEY": "sk-secret"}) as (endpoint, client, _):
            with pytest.raises(ModelError) as caught:
                await gather(client, spec(endpoint, api_key_env="KEY"))
        assert "sk-secret" not in f"{caught.value!r} {caught.value} {caught.value.__dict__}"
        assert "[key]" in str(caught.value)


async def test_the_environments_proxy_is_used_but_never_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakeEndpoint("from the proxy") as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1"))
        async with serving() as (endpoint, client, _):
            assert (await gather(client, spec(endpoint)))[1].text == TEXT
            elsewhere = ModelSpec("m", "http://models.invalid/v1", "m")
            assert (await gather(client, elsewhere))[1].text == "from the proxy"
            monkeypatch.setenv("no_proxy", "models.invalid")
            with pytest.raises(Unreachable):
                await gather(client, elsewhere)


async def test_the_key_is_not_in_what_led_to_an_error_either() -> None:
    client = HttpClient(retries=RetryPolicy(attempts=1), env={"KEY": "sk-secret"})
    with pytest.raises(Unreachable) as caught:
        await gather(client, ModelSpec("m", "http://127.0.0.1:9/v1", "m", api_key_env="KEY"))
    await client.close()
    link: BaseException | None = caught.value
    while link is not None:  # a logger with locals, or a debugger, sees the whole chain
        assert "sk-secret" not in f"{link!r} {link.__dict__}"
        link = link.__cause__ or link.__context__


async def test_hints_say_what_to_do() -> None:
    async with serving(Fault(status=401), Fault(status=404), env={"KEY": "k"}) as (endpoint, client, _):
        with pytest.raises(ModelHTTPError, match="check the key in KEY"):
            await gather(client, spec(endpoint, api_key_env="KEY"))
        with pytest.raises(ModelHTTPError, match="check `endpoint` and `model`"):
            await gather(client, spec(endpoint))


async def test_forwarding_gives_bytes_as_they_are() -> None:
    async with serving(Fault(status=503)) as (endpoint, client, _):
        body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "tools": [{"a": 1}], "unknown": None}
        with pytest.raises(ModelHTTPError, match="503"):
            await client.forward(spec(endpoint), body, monotonic() + 10.0)
        forwarded = await client.forward(spec(endpoint), body, monotonic() + 10.0)
        data = b""
        while chunk := await forwarded.read():
            data += chunk
        forwarded.close()
    assert forwarded.status == 200
    assert forwarded.content_type == "application/json; charset=utf-8"
    assert b'"chat.completion"' in data
    assert endpoint.requests[-1] == body | {"model": "real-name"}
    assert len(endpoint.requests) == 2


async def test_forwarding_a_refusal_keeps_the_endpoints_own_words() -> None:
    async with serving(Fault(status=400, message="too long")) as (endpoint, client, _):
        with pytest.raises(ModelHTTPError) as caught:
            await client.forward(spec(endpoint), {"messages": []}, monotonic() + 10.0)
    assert b"too long" in caught.value.body


async def test_a_hundred_at_once_leave_nothing_behind() -> None:
    async with serving() as (endpoint, client, _):
        before = asyncio.all_tasks()
        results = await asyncio.gather(*(gather(client, spec(endpoint)) for _ in range(100)))
        assert all(c.text == TEXT for _, c in results)
        await client.close()
        await _soon(lambda: endpoint.open_connections == 0 and asyncio.all_tasks() == before)


def test_one_client_may_serve_several_event_loops_in_turn() -> None:
    client = HttpClient()

    async def once() -> str:
        async with FakeEndpoint(TEXT) as endpoint:
            return (await gather(client, spec(endpoint)))[1].text

    for _ in range(3):
        assert asyncio.run(once()) == TEXT
    asyncio.run(client.close())
    gc.collect()  # an unclosed connection would be a warning, and that an error


async def _soon(condition: Callable[[], bool]) -> None:
    for _ in range(200):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen within two seconds")
