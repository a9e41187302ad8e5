"""Members that fail, behind a real server: what a caller hears, how often they are called, how soon another answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from aiohttp import web

from routemoa.core.access.tenants import Tenants
from routemoa.core.errors import AllModelsFailed, ModelHTTPError
from routemoa.core.failure_kind import FailureKind
from routemoa.core.pool_file.pool import Pool
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.tables.tenant_table import parse_tenants
from routemoa.core.trace import Failure, Skip
from routemoa.core.types import ModelSpec
from routemoa.core.usage import Usage
from routemoa.gateway.failures import error_response
from routemoa.ledger import Store
from routemoa.mixture.method_registry import METHODS
from routemoa.testing import FakeEndpoint, Fault
from tests.gateway.harness import HI, Raw, Response, Script, Serving, serving, until

DOWN = "http://127.0.0.1:9/v1"


class Served:
    """A server over scripted endpoints, one for each member m0, m1, ... in the order of their priors."""

    def __init__(self, server: Serving, endpoints: Sequence[FakeEndpoint], pool: Pool) -> None:
        self.server, self.endpoints, self.pool = server, endpoints, pool

    @property
    def calls(self) -> list[int]:
        return [len(e.requests) for e in self.endpoints]

    async def ask(self, model: str = "routemoa", **more: Any) -> Response:
        return await (await self.server.raw({"model": model, "messages": HI, **more})).whole()

    async def get(self, path: str, **headers: str) -> Response:
        host, port = self.server.url.split("/")[2].split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        lines = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n{lines}Connection: close\r\n\r\n".encode())
        return await Raw(reader, writer).whole()


@asynccontextmanager
async def members(*faults: Fault | Sequence[Fault], **options: Any) -> AsyncIterator[Served]:
    keys = options.pop("keys", {})
    async with AsyncExitStack() as stack:
        endpoints = [await stack.enter_async_context(FakeEndpoint("The answer is 4.", f)) for f in faults]
        specs = [
            ModelSpec(f"m{i}", e.url, f"m{i}", prior=0.9 - i / 20, **keys.get(i, {})) for i, e in enumerate(endpoints)
        ]
        pool = Pool(tuple(specs), Mixture(top_k=1), tenants=options.pop("tenants", Tenants()))
        server = await stack.enter_async_context(serving(pool=pool, attempts=4, names=METHODS, **options))
        yield Served(server, endpoints, pool)


# --- a failing call frees its place


@pytest.mark.alone
@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=429, retry_after="3"),
        Fault(status=429, retry_after="30"),
        Fault(status=429, retry_after="Fri, 31 Dec 2049 23:59:59 GMT"),
        Fault(status=503, retry_after="60"),
        Fault(status=429),
        Fault(status=500),
        Fault(status=502),
        Fault(status=529),
        Fault(status=401),
        Fault(status=404),
        Fault(reset=True),
        Fault(garbage=True),
        Fault(error_after=0),
    ],
    ids=str,
)
async def test_another_member_answers_at_once(fault: Fault) -> None:
    async with members(fault, Fault()) as s:
        for number in range(5):
            begun = time.perf_counter()
            response = await s.ask()
            assert time.perf_counter() - begun < 1.0
            assert response.json["routemoa"]["proposers"] == ["m1"]
            assert response.json["usage"] is not None or fault.garbage or fault.error_after is not None
            if number > 3:
                assert response.json["routemoa"]["skipped"]["m0"].startswith("skipped: cooling down ")
        assert s.calls[0] <= 3


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500),
        Fault(status=503),
        Fault(status=429),
        Fault(status=429, retry_after="0.2"),
        Fault(status=429, retry_after="20"),
        Fault(status=401),
        Fault(reset=True),
        Fault(garbage=True),
    ],
    ids=str,
)
@pytest.mark.parametrize("model", ["routemoa", "moa", "best-single", "m0"])
async def test_one_call_of_openais_client_calls_no_member_more_than_twice(fault: Fault, model: str) -> None:
    if model == "m0" and (fault.retry_after == "20" or fault.garbage):
        pytest.skip("the client waits as the member itself asks for; bytes that are not JSON pass")
    async with members(fault, fault, fault) as s:
        sdk = openai.AsyncOpenAI(base_url=s.server.url, api_key="unused")  # with its two retries
        with pytest.raises(openai.APIStatusError) as caught:
            await sdk.chat.completions.create(model=model, messages=HI)
        await sdk.close()
        assert max(s.calls) <= 2
        assert caught.value.response.headers.get("x-should-retry") == "false"


async def test_a_limit_that_lasts_is_not_waited_for_twice_by_openais_client() -> None:
    async with members(Fault(status=429, retry_after="0.6")) as s:
        first = await s.ask("m0", routemoa={"max_seconds": 0.5})
        assert (first.status, first.headers.get("x-should-retry")) == (429, None)
        assert (await s.ask("m0")).headers["retry-after"] == "1"
        time.sleep(0.7)  # noqa: ASYNC251
        second = await s.ask("m0", routemoa={"max_seconds": 0.5})
        assert (second.status, second.headers.get("x-should-retry")) == (429, "false")
        assert s.calls == [2]


# --- errors keep their meaning


@pytest.mark.parametrize(
    ("faults", "status", "retry_after"),
    [
        ([Fault(status=429, retry_after="900")] * 2, 429, "900"),
        ([Fault(status=429, retry_after="900"), Fault(status=429, retry_after="30")], 429, "30"),
        ([Fault(status=429, retry_after="40"), Fault(status=503, retry_after="30")], 503, "30"),
        ([Fault(status=429, retry_after="40"), Fault(status=429)], 429, "40"),
        ([Fault(status=503, retry_after="86400")] * 2, 503, "86400"),
        ([Fault(status=429), Fault(status=500)], 502, None),
        ([Fault(status=429, retry_after="40"), Fault(status=401)], 502, None),
        ([Fault(status=400, message="bad thing")] * 2, 400, None),
        ([Fault(status=413, message="too big")] * 2, 413, None),
        ([Fault(status=422, message="bad thing")] * 2, 422, None),
        ([Fault(status=400), Fault(status=422)], 400, None),
        ([Fault(status=400), Fault(status=500)], 502, None),
        ([Fault(status=500)] * 2, 502, None),
    ],
)
async def test_the_status_of_a_pool_that_cannot_answer(
    faults: list[Fault], status: int, retry_after: str | None
) -> None:
    async with members(*faults) as s:
        for stream in (False, True):
            response = await s.ask(stream=stream)
            if stream and response.json["error"]["code"] == "model_cooling_down":
                continue  # the second time they are not even called
            assert (response.status, response.headers.get("retry-after")) == (status, retry_after)
            if status in (400, 413, 422):
                assert "No model could answer" not in response.error["message"]
                assert response.error["message"].startswith(f"m0: {faults[0].message}")


async def test_members_that_cool_down_say_when_they_return_without_being_called() -> None:
    async with members(Fault(status=429, retry_after="900"), Fault(status=429, retry_after="300")) as s:
        await s.ask()
        for model, seconds in (("routemoa", "300"), ("m0", "900"), ("m1", "300"), ("moa", "300")):
            response = await s.ask(model)
            assert (response.status, response.headers["retry-after"]) == (429, seconds)
            assert response.error["code"] == "model_cooling_down"
            assert "x-should-retry" not in response.headers, "nothing was called: to wait and ask again is right"
        assert s.calls == [1, 1]


async def test_a_named_member_that_fails_again_and_again_is_refused_for_a_while() -> None:
    async with members(Fault(status=500)) as s:
        statuses = [(await s.ask("m0")).status for _ in range(4)]
        assert statuses == [500, 500, 503, 503]
        assert s.calls == [4]  # twice each
        assert (await s.ask("m0")).headers["retry-after"] in ("4", "5", "6"), "the repetition is no new reason"


@asynccontextmanager
async def replying(status: int, body: dict[str, Any]) -> AsyncIterator[str]:
    async def handle(request: web.Request) -> web.Response:
        return web.json_response(body, status=status)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("status", "error", "expected", "code"),
    [
        (400, {"message": "too long", "code": "context_length_exceeded"}, 400, "context_length_exceeded"),
        (400, {"message": "prompt is too long: 200251 tokens > 199999 maximum"}, 400, "context_length_exceeded"),
        (413, {"message": "Please reduce the length of the messages or completion."}, 400, "context_length_exceeded"),
        (422, {"message": "This model's maximum context length is 5"}, 400, "context_length_exceeded"),
        (400, {"message": "no", "type": "exceed_context_size_error", "code": 400}, 400, "context_length_exceeded"),
        (400, {"message": "filtered", "code": "content_filter"}, 400, "content_filter"),
        (400, {"message": "no", "code": "invalid_value"}, 400, "invalid_value"),
        (422, {"message": "no", "code": None}, 422, None),
        (400, {"message": "no", "code": 400}, 400, None),
        (413, {"message": "no", "code": "request_too_large"}, 413, "request_too_large"),
    ],
)
async def test_a_members_own_code_reaches_the_caller(
    status: int, error: dict[str, Any], expected: int, code: str | None
) -> None:
    async with replying(status, {"error": error}) as url:
        pool = Pool(tuple(ModelSpec(n, url, n, prior=0.5) for n in "ab"))
        async with serving(pool=pool) as s:
            response = await (await s.raw({"model": "routemoa", "messages": HI})).whole()
            assert (response.status, response.error["code"]) == (expected, code)
            assert error["message"] in response.error["message"]


def test_a_wrong_request_is_one_whatever_members_were_skipped() -> None:
    wrong = Failure("a", "HTTP 400: no", FailureKind.HTTP_ERROR, Usage(0, 0, 0, 0), 0.1, 0.0, 400, code="bad")
    skips = [
        Skip("b", "cooling", "skipped: cooling down 9 s", 9.0, 503),
        Skip("c", "context", "skipped: the prompt may not fit into its context of 2,048 tokens"),
    ]
    response = error_response(AllModelsFailed([wrong], skips))
    assert (response.status, response.code) == (400, "bad")
    busy = error_response(AllModelsFailed([], skips[:1]))
    assert (busy.status, busy.code, busy.retry_after) == (503, "model_cooling_down", 9)


async def test_a_prompt_that_no_member_can_hold_costs_nothing() -> None:
    long = [{"role": "user", "content": "word " * 20000}]
    async with members(Fault(), Fault(), keys={0: {"context": 2048}, 1: {"context": 4096}}) as s:
        for model in ("routemoa", "moa", "best-single", "m0"):
            response = await s.ask(model, messages=long)
            assert (response.status, response.error["code"]) == (400, "context_length_exceeded"), model
            assert "2,048" in response.error["message"]
        assert s.calls == [0, 0]
    async with members(Fault(), Fault(), keys={0: {"context": 2048}}) as s:
        response = await s.ask(messages=long)
        assert response.json["routemoa"]["proposers"] == ["m1"]
        assert "m0" in response.json["routemoa"]["skipped"]
        assert s.calls[0] == 0


# --- what is shown of it


async def test_healthz_shows_how_well_each_member_is() -> None:
    async with members(Fault(status=429, retry_after="900"), Fault()) as s:
        assert (await s.get("/healthz")).json == {"status": "ok"}
        await s.ask()
        shown = (await s.get("/healthz?verbose")).json
        assert shown["status"] == "ok"
        m0, m1 = shown["members"]["m0"], shown["members"]["m1"]
        assert (m0["state"], m0["reason"], m0["failures"]) == ("open", "HTTP 429", 1)
        assert 890 < m0["retry_in"] <= 900
        assert m1 == {
            "state": "closed",
            "failures": 0,
            "retry_in": None,
            "reason": None,
            "learned": {"omit": [], "rename": {}},
        }


async def test_healthz_shows_the_members_to_tenants_only(tmp_path: Path) -> None:
    tenants = parse_tenants({"tenant": [{"name": "t", "key_env": "KEY"}]}, "pool", {"KEY": "secret"})
    async with members(Fault(), tenants=tenants, store=Store(tmp_path / "s.db")) as s:
        assert (await s.get("/healthz")).status == 200
        assert (await s.get("/healthz?verbose")).status == 401
        shown = await s.get("/healthz?verbose", Authorization="Bearer secret")
        assert list(shown.json["members"]) == ["m0"]


async def test_a_stream_that_fails_after_ten_seconds_of_silence_says_so_as_its_last_event() -> None:
    failed = AllModelsFailed([Failure("a", "HTTP 503: busy", FailureKind.HTTP_ERROR, Usage(), 1.0, 0.0, 503)])
    async with serving(Script(0.2, failed), keep_alive=0.05) as s:
        for mode in ("final", "leader", "events"):
            body = {"model": "routemoa", "messages": HI, "stream": True, "routemoa": {"stream_mode": mode}}
            response = await (await s.raw(body)).whole()
            assert response.status == 200
            assert response.body.startswith(b": keep-alive\n\n")
            assert (b"event: error" in response.body) == (mode == "events")
            assert response.events[-1]["error"]["code"] == "no_model_left"
        whole = await (await s.raw({"model": "routemoa", "messages": HI})).whole()
        assert whole.status == 503, "a response in one piece keeps its status"


async def test_a_learned_dialect_serves_passed_through_requests_without_touching_the_callers_fields() -> None:
    refused: list[dict[str, Any]] = []

    async def handle(request: web.Request) -> web.Response:
        body = await request.json()
        refused.append(body)
        for name in ("max_tokens", "temperature", "stop"):
            if name in body:
                message = f"Unsupported parameter: '{name}' is not supported with this model."
                return web.json_response({"error": {"message": message, "param": name}}, status=400)
        choice = {"index": 0, "message": {"role": "assistant", "content": "Paris"}, "finish_reason": "stop"}
        return web.json_response({"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 1}})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    async with serving(pool=Pool((ModelSpec("m", url, prior=0.9),))) as s:

        async def ask(model: str, **more: Any) -> Response:
            return await (await s.raw({"model": model, "messages": HI, **more})).whole()

        assert (await ask("m", max_tokens=9)).status == 200, "the same limit under its other name"
        assert refused[-1]["max_completion_tokens"] == 9
        assert (await ask("m", temperature=0.1)).error["param"] == "temperature", "the caller's own: its to know"
        mixed = await ask("routemoa", temperature=0.1, max_tokens=9)
        assert mixed.status == 200
        [given_up] = mixed.json["routemoa"]["given_up"]
        assert given_up == {
            "what": "parameter",
            "why": "its endpoint takes no temperature",
            "models": ["m"],
            "parameters": ["temperature"],
        }
        assert (await ask("m", temperature=0.1)).error["param"] == "temperature", "learned for mixtures only"
        assert (await ask("routemoa", stop=["x"])).status == 400
    await runner.cleanup()


async def test_a_caller_who_leaves_frees_the_members_probe() -> None:
    slow = Fault(between=5.0)
    async with members([Fault(status=429, retry_after="0.3"), slow, Fault()]) as s:
        await s.ask("m0", routemoa={"max_seconds": 0.2})
        time.sleep(0.4)  # noqa: ASYNC251
        caller = await s.server.raw({"model": "m0", "messages": HI, "stream": True})
        await until(lambda: s.calls == [2])
        await caller.leave()
        await until(lambda: s.endpoints[0].open_requests == 0)
        assert (await s.ask("m0")).status == 200


def test_the_words_of_the_breaker_name_no_address() -> None:
    error = ModelHTTPError("a", "HTTP 503: http://10.0.0.1 is busy", status=503, retry_after=9.0)
    from routemoa.clients.endpoints.memory import MemberMemory
    from routemoa.mixture.calls.admission import skip_cooling

    memory, model = MemberMemory(clock=lambda: 0.0), ModelSpec("a", DOWN, "a")
    memory.fail(model, error, 0.0)
    assert skip_cooling(model, memory).reason == "skipped: cooling down 9 s after HTTP 503"


@pytest.mark.parametrize(
    "fault", [Fault(first_byte=0.3), Fault(first_byte=0.3, status=400), Fault(first_byte=0.3, whole=True)]
)
async def test_a_passed_through_stream_that_is_silent_begins_with_its_head(fault: Fault) -> None:
    async with members(fault, keep_alive=0.05) as s:
        response = await s.ask("m0", stream=True)
        assert response.status == 200
        assert response.body.startswith(b": keep-alive\n\n")
        if fault.status:
            assert response.events[-1]["error"]["code"] == "model_failed"
            return
        assert b": keep-alive" not in response.body[response.body.index(b"data: ") :], (
            "no comment of ours among its bytes"
        )
        choice = response.events[0]["choices"][0]
        assert response.events[-1] == "[DONE]"
        assert choice.get("delta", choice.get("message"))["role"] == "assistant"
        whole = await s.ask("m0")
        assert whole.headers["content-type"].startswith("application/json")
