"""Timers that nearly always end early: those that do not are called, once and soon."""

from __future__ import annotations

import asyncio

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
