"""Timers that nearly always end early: those that do not are called, once and soon."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar, copy_context
from functools import partial
from math import inf

from routemoa.core.system.cheap_timers import SHORT_TICK, start_timer


async def test_a_timer_ends_in_time_unless_it_is_discarded() -> None:
    loop, called = asyncio.get_running_loop(), list[str]()
    done = asyncio.Event()
    began = loop.time()

    def forget() -> None:
        called.append("forgotten")

    def end() -> None:
        called.append("ended")
        done.set()

    waiting = start_timer(loop, 0.03, forget)
    start_timer(loop, 0.03, end)
    start_timer(loop, 300.0, forget)
    waiting.discard(forget)
    async with asyncio.timeout(5.0):
        await done.wait()
    assert called == ["ended"]
    assert 0.03 <= loop.time() - began < 2.0 + SHORT_TICK


async def test_one_that_raises_disturbs_none_that_end_with_it() -> None:
    loop, called, logged = asyncio.get_running_loop(), set[int](), list[object]()
    loop.set_exception_handler(lambda _, context: logged.append(context["exception"]))

    def end(number: int) -> None:
        called.add(number)
        if number % 2:
            raise ValueError(number)

    for number in range(6):
        start_timer(loop, 0.0, partial(end, number))
    async with asyncio.timeout(5.0):
        while len(called) < 6 or len(logged) < 3:  # noqa: ASYNC110  (the loop sets no event when it logs)
            await asyncio.sleep(SHORT_TICK)


async def test_what_a_timer_starts_is_not_of_another_ones_context() -> None:
    loop, whose, seen = asyncio.get_running_loop(), ContextVar("whose", default=""), list[str]()

    def start(name: str) -> None:
        whose.set(name)
        start_timer(loop, 0.0, lambda: seen.append(whose.get()))

    for name in ("a", "b"):
        copy_context().run(start, name)
    async with asyncio.timeout(5.0):
        while len(seen) < 2:  # noqa: ASYNC110  (an event would be set in another context)
            await asyncio.sleep(SHORT_TICK)
    assert seen == ["", ""]


async def test_a_wait_without_an_end_does_not_end() -> None:
    loop, called, done = asyncio.get_running_loop(), list[str](), asyncio.Event()
    start_timer(loop, inf, partial(called.append, "ended"))
    start_timer(loop, 0.0, done.set)
    async with asyncio.timeout(5.0):
        await done.wait()
    assert not called
