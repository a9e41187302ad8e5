"""Requests are admitted while the server keeps up; the others wait for a bounded time or are refused."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from routemoa.core.tables.server_table import ServerSettings
from routemoa.gateway.errors import Overloaded
from routemoa.gateway.guards.event_loop import ServerLoop
from routemoa.gateway.guards.load import (
    FIRST_LIMIT,
    MAX_RETRY_AFTER,
    MIN_LIMIT,
    STARTED_AT_ONCE,
    LoadGate,
    RequestLimit,
)
from tests.gateway.harness import ANSWER, HI, Script, serving, until


def observe(limit: RequestLimit, busy: float, running: float, seconds: float = 3.0) -> float:
    for tick in range(int(10 * seconds)):
        limit.observe(tick / 10, busy, int(min(running, limit.value)))
    return limit.value


def test_the_limit_grows_only_where_it_binds() -> None:
    assert observe(RequestLimit(), 0.3, 50) == FIRST_LIMIT
    assert observe(RequestLimit(), 0.3, 10_000, 6.0) > 1000


def test_a_busy_loop_makes_it_shrink_to_no_less_than_a_few() -> None:
    limit = RequestLimit()
    limit.busy = 1.0
    assert observe(limit, 1.0, 10_000) < 0.8 * FIRST_LIMIT
    assert observe(limit, 1.0, 10_000, 60) == MIN_LIMIT


def test_between_the_two_it_stays() -> None:
    limit = RequestLimit()
    observe(limit, 0.86, 0)
    before = limit.value
    assert observe(limit, 0.86, 10_000) == before


def test_it_finds_what_a_server_can_do() -> None:
    """A server that is busy in proportion to its requests, full at 400."""
    limit = RequestLimit()
    for tick in range(1200):
        running = int(limit.value)
        limit.observe(tick / 10, min(1.0, running / 400), running)
        if tick > 300:
            assert 250 < limit.value < 450


def gate(limit: float, queue_seconds: float = 0.2, takes: float = 0.0) -> LoadGate:
    it = LoadGate(queue_seconds, jitter=lambda: 0.0)
    it.limit.value = limit
    it._seconds = takes
    return it


async def test_what_is_free_is_given_at_once_and_the_rest_waits() -> None:
    it = gate(2.0, 5.0)
    order: list[int] = []

    async def one(number: int) -> None:
        async with it.place():
            order.append(number)
            await asyncio.sleep(0.01)

    await asyncio.gather(*(one(n) for n in range(10)))
    assert order == list(range(10))
    assert it.running == 0


@pytest.mark.alone
async def test_the_wait_is_bounded() -> None:
    it = gate(1.0)
    async with it.place():
        began = time.perf_counter()
        with pytest.raises(Overloaded) as caught:
            async with it.place():
                pass
        assert 0.15 < time.perf_counter() - began < 1.0
    assert caught.value.response.status == 503
    assert caught.value.response.retry_after == 1
    assert it.running == it.waiting == len(it._queue) == 0


@pytest.mark.alone
async def test_where_the_wait_would_be_too_long_there_is_none() -> None:
    it = gate(2.0, queue_seconds=1.0, takes=3.0)
    async with it.place(), it.place():
        began = time.perf_counter()
        with pytest.raises(Overloaded) as caught:
            async with it.place():
                pass
        assert time.perf_counter() - began < 0.1
        assert caught.value.response.retry_after == 2  # 3 s for two at a time, rounded up


@pytest.mark.alone
async def test_a_short_request_waits_for_less_than_the_queue_allows() -> None:
    it = gate(1.0, queue_seconds=4.0, takes=0.1)
    async with it.place():
        began = time.perf_counter()
        with pytest.raises(Overloaded):
            async with it.place():
                pass
        assert 2.9 < time.perf_counter() - began < 3.9
    assert it._patience == 3.0
    it._seconds = 14.0
    assert it._patience == 3.5
    it._seconds = 60.0
    assert it._patience == 4.0


async def test_a_burst_that_fits_is_let_in_however_long_requests_take() -> None:
    """A few begin in each turn of the event loop, and nothing is refused while there are places."""
    it = gate(100.0, 4.0, takes=30.0)
    turns: list[int] = []
    running = 0

    async def one() -> None:
        nonlocal running
        async with it.place():
            running += 1
            await asyncio.sleep(0.3)

    tasks = [asyncio.ensure_future(one()) for _ in range(100)]
    while running < 100:
        before = running
        await asyncio.sleep(0)
        turns.append(running - before)
    assert max(turns) <= STARTED_AT_ONCE
    await asyncio.gather(*tasks)
    assert it.refused == it.running == it.waiting == 0


async def test_refused_callers_are_told_to_return_one_after_the_other() -> None:
    """Ten places, two seconds each: five requests a second can be served."""
    now = 100.0
    it = LoadGate(4.0, clock=lambda: now, jitter=lambda: 0.0)
    it.limit.value, it._seconds, it.running = 10.0, 2.0, 10
    told = [it._refuse().response.retry_after or 0 for _ in range(100)]
    assert told[0] == 1
    assert told[49] == pytest.approx(10, abs=1)
    assert told == sorted(told)
    assert max(it._refuse().response.retry_after or 0 for _ in range(200)) == MAX_RETRY_AFTER
    now += 60.0
    assert it._refuse().response.retry_after == 1, "the load has gone"


async def test_a_request_that_is_given_up_while_it_waits_leaves_no_hole() -> None:
    it = gate(1.0, 5.0)
    places = [it.place() for _ in range(4)]
    async with it.place():
        waiting = [asyncio.ensure_future(place.__aenter__()) for place in places[:3]]
        await asyncio.sleep(0)
        for task in waiting[:2]:
            task.cancel()
        await asyncio.gather(*waiting[:2], return_exceptions=True)
        assert it.waiting == 1
    await waiting[2]
    assert it.running == 1
    cancelled = asyncio.ensure_future(places[3].__aenter__())
    await asyncio.sleep(0)
    it._leave(0.1)  # its turn comes in the moment in which it is given up
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    assert it.running == it.waiting == 0


async def test_a_failure_gives_its_place_back() -> None:
    it = gate(1.0)
    for _ in range(5):
        with pytest.raises(ValueError, match="x"):
            async with it.place():
                raise ValueError("x")
    assert it.running == 0


async def test_without_descriptors_no_request_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    it = gate(100.0, 0.05)
    monkeypatch.setattr("routemoa.gateway.guards.load.descriptor_limit", lambda: 1024)
    monkeypatch.setattr("routemoa.gateway.guards.load.count_descriptors", lambda: 1024 - 128 - 8)
    it._look(0.0, 0.0)
    async with it.place(), it.place():
        with pytest.raises(Overloaded):
            async with it.place():
                pass
        monkeypatch.setattr("routemoa.gateway.guards.load.count_descriptors", lambda: 100)
        it._look(0.1, 0.0)
        async with it.place():
            pass


@pytest.mark.alone
def test_a_measured_loop_knows_how_busy_it_is() -> None:
    async def work(busy: float, idle: float) -> float:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, ServerLoop)
        before, began = loop.idle_seconds, time.monotonic()
        while time.monotonic() - began < busy:  # noqa: ASYNC110  (it is to be busy)
            await asyncio.sleep(0)
        await asyncio.sleep(idle)
        return loop.idle_seconds - before

    with asyncio.Runner(loop_factory=ServerLoop) as runner:
        assert runner.run(work(0.2, 0.0)) < 0.1
        assert 0.15 < runner.run(work(0.05, 0.2)) < 0.5


async def test_an_overloaded_server_says_when_to_come_back_and_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routemoa.gateway.guards.load.FIRST_LIMIT", 2.0)
    monkeypatch.setattr("routemoa.gateway.guards.load.LOW", -1.0)
    method = Script(1.0, *ANSWER)
    async with serving(method) as s, AsyncExitStack() as stack:
        callers = [await s.raw({"model": "routemoa", "messages": HI}) for _ in range(2)]
        await until(lambda: method.begun == 2)
        for caller in callers:
            stack.push_async_callback(caller.leave)
        waiting = await s.raw({"model": "routemoa", "messages": HI})
        answers = [await c.whole() for c in (*callers, waiting)]
        assert [a.status for a in answers] == [200, 200, 200]
        health = await s.connect(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await health.whole()).json == {"status": "ok"}


async def test_what_does_not_get_its_turn_is_a_503_for_every_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routemoa.gateway.guards.load.FIRST_LIMIT", 1.0)
    monkeypatch.setattr("routemoa.gateway.guards.load.LOW", -1.0)
    method = Script(1.0, *ANSWER)
    async with serving(method, settings=ServerSettings(queue_seconds=0.2)) as s:
        first = await s.raw({"model": "routemoa", "messages": HI})
        await until(lambda: method.begun)
        for stream in (True, False):
            refused = await (await s.raw({"model": "routemoa", "messages": HI, "stream": stream})).whole()
            assert refused.status == 503
            assert refused.error["code"] == "overloaded"
            assert int(refused.headers["retry-after"]) >= 1
        assert (await first.whole()).status == 200
        assert method.begun == 1
