"""Disconnects, many requests at once, and the end of the server: nothing is left running."""

from __future__ import annotations

import asyncio
import re
import time
from contextvars import ContextVar
from typing import Any

import pytest

from routemoa.clients.http import HttpClient
from routemoa.core.events import AnswerDelta, Event
from routemoa.core.pool_file.pool import Pool
from routemoa.core.system.large_work import LARGE_TREE
from routemoa.gateway import create_app
from routemoa.gateway.api import ChatApi
from routemoa.gateway.http_exchange.connection import ResponseWriter
from routemoa.gateway.http_exchange.disconnects import run_while_connected
from routemoa.gateway.members.passthrough import PassThrough
from routemoa.testing import FakeEndpoint, Fault
from tests.gateway.harness import ANSWER, HI, Script, serving, until


@pytest.mark.parametrize("stream", [False, True])
async def test_a_disconnect_while_waiting_cancels_the_work(stream: bool) -> None:
    method = Script(30.0, *ANSWER)
    async with serving(method) as s:
        caller = await s.raw({"model": "routemoa", "messages": HI, "stream": stream})
        await until(lambda: method.begun)
        await caller.leave()
        await until(lambda: method.abandoned)
        assert not method.finished


async def test_a_disconnect_in_the_middle_of_a_stream_cancels_the_work() -> None:
    method = Script(AnswerDelta("Hel"), 30.0, *ANSWER)
    async with serving(method) as s:
        async with await s.sdk.chat.completions.create(model="routemoa", messages=HI, stream=True) as stream:
            await anext(aiter(stream))
        await until(lambda: method.abandoned)


async def test_a_disconnect_of_a_caller_that_reads_nothing_cancels_the_work() -> None:
    steps: list[Event | float] = [AnswerDelta("x" * 100_000), 0.0001]
    method = Script(*steps * 400, *ANSWER)
    async with serving(method) as s:
        caller = await s.raw({"model": "routemoa", "messages": HI, "stream": True})
        await until(lambda: method.begun)
        await asyncio.sleep(0.2)
        assert not method.finished, "the sender must wait for the reader"
        caller.writer.transport.abort()
        await until(lambda: method.abandoned)


@pytest.mark.parametrize("model", ["routemoa", "a"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_disconnect_ends_the_calls_at_the_endpoints(model: str, stream: bool) -> None:
    slow = Fault(between=0.05, first_byte=0.0 if stream else 20.0)
    async with FakeEndpoint("word " * 500, faults=slow) as e, serving(endpoint=e.url) as s:
        asked = [{"role": "user", "content": "2+2?"}]  # two models are asked at once
        caller = await s.raw({"model": model, "messages": asked, "stream": stream})
        wanted = 2 if model == "routemoa" else 1
        await until(lambda: e.open_requests == wanted)
        await caller.leave()
        await until(lambda: e.open_requests == 0)
        await until(lambda: e.open_connections == 0)


async def test_a_quiet_stream_is_kept_alive_before_its_first_token_too() -> None:
    async with serving(Script(0.2, AnswerDelta("Hel"), 0.2, *ANSWER), keep_alive=0.03) as s:
        raw = await (await s.raw({"model": "routemoa", "messages": HI, "stream": True})).all()
        assert raw.index(b": keep-alive") < raw.index(b'"Hel"') < raw.rindex(b": keep-alive") < raw.index(b"[DONE]")
        assert raw.count(b"HTTP/1.1 200 OK") == 1
        stream = await s.sdk.chat.completions.create(model="routemoa", messages=HI, stream=True)
        assert "".join([c.choices[0].delta.content or "" async for c in stream]) == "HelHello."


async def test_a_hundred_streams_at_once_leave_nothing_behind() -> None:
    async with FakeEndpoint("four or so") as e, serving(endpoint=e.url) as s:

        async def one() -> str:
            raw = await (await s.raw({"model": "routemoa", "messages": HI, "stream": True})).all()
            assert raw.startswith(b"HTTP/1.1 200")
            assert b"[DONE]" in raw
            return "".join(re.findall(r'"content":"([^"]*)"', raw.decode()))

        assert await asyncio.gather(*(one() for _ in range(100))) == ["four or so"] * 100
        await until(lambda: not s.server.server_state.tasks)
        await until(lambda: not s.server.server_state.connections)
        assert e.open_requests == 0
        await s.client.close()
        await until(lambda: e.open_connections == 0)


async def test_the_end_of_the_server_closes_the_client() -> None:
    closed = asyncio.Event()

    class Closing(HttpClient):
        async def close(self) -> None:
            closed.set()
            await super().close()

    app = create_app({}, Pool(()), Closing())
    async with app.router.lifespan_context(app):
        assert not closed.is_set()
    assert closed.is_set()


@pytest.mark.alone
@pytest.mark.parametrize(
    ("model", "owner", "name"),
    [("routemoa", ChatApi, "read"), ("a", PassThrough, "__init__")],
    ids=["method", "member"],
)
async def test_work_on_a_large_body_keeps_no_other_request_waiting(
    model: str, owner: type, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large body is read in a thread, for a method and for a member; the event loop goes on meanwhile."""
    own = getattr(owner, name)

    def work(*arguments: Any, **options: Any) -> Any:
        time.sleep(0.5)
        return own(*arguments, **options)

    monkeypatch.setattr(owner, name, work)
    async with FakeEndpoint("4") as endpoint, serving(endpoint=endpoint.url) as served:
        body = {"model": model, "messages": [{"role": "user", "content": "x" * LARGE_TREE}]}
        asked = asyncio.create_task((await served.raw(body)).whole())
        longest = 0.0
        while not asked.done():
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - began)
        assert (await asked).status == 200
        assert longest < 0.4


async def test_a_head_that_cannot_be_written_leaves_the_response_to_the_error() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    writer = ResponseWriter(send)
    with pytest.raises(UnicodeEncodeError):
        await writer.respond(200, "text/plain", b"x", {"x-name": "\u65e5"})
    await writer.json(500, {})
    assert [m.get("status") for m in sent] == [500, None]


async def test_each_connection_is_kept_alive_in_the_context_of_its_request() -> None:
    whose, seen = ContextVar[str]("whose"), set[str]()

    async def serve(name: str) -> None:
        whose.set(name)
        done = asyncio.Event()

        async def keep_alive() -> None:
            seen.add(f"{name} {whose.get()}")
            done.set()

        await run_while_connected(asyncio.Event().wait, done.wait(), keep_alive, 0.01)  # type: ignore[arg-type]

    async with asyncio.timeout(5.0):
        await asyncio.gather(serve("a"), serve("b"))
    assert seen == {"a a", "b b"}


async def test_a_caller_that_leaves_as_the_work_ends_disturbs_nothing_after_it() -> None:
    async def keep_alive() -> None:
        pass

    async def serve(steps: int) -> None:
        done, gone = asyncio.Event(), asyncio.Event()

        async def receive() -> Any:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def end() -> None:
            await asyncio.sleep(0.2)
            gone.set()
            for _ in range(steps):
                await asyncio.sleep(0)
            done.set()

        ending = asyncio.create_task(end())
        await run_while_connected(receive, done.wait(), keep_alive, 10.0)  # type: ignore[arg-type]
        await ending
        await asyncio.sleep(0.01)  # as rates are settled after it

    async with asyncio.timeout(5.0):
        await asyncio.gather(*(serve(steps) for steps in range(8)))
