"""Timers for waits that nearly always end early: beginning and ending one costs an entry of a set, not a timer.

waiting = start_timer(loop, 300.0, give_up)
...
waiting.discard(give_up)  # in time: it is not called
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from math import inf
from weakref import WeakKeyDictionary

__all__ = ["start_timer"]

SHORT = 5.0
"""Seconds of a wait; longer ones end with a coarser clock, so that few of its ticks are kept."""
SHORT_TICK, LONG_TICK = 0.02, 0.5
"""Seconds by which the end of a wait may be late. The event loop has one timer for all that end with the same tick."""

Waiting = set[Callable[[], None]]

_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[float, Waiting]] = WeakKeyDictionary()
"""Event loop -> end of a tick -> what is called then."""


def start_timer(loop: asyncio.AbstractEventLoop, seconds: float, callback: Callable[[], None]) -> Waiting:
    """Call `callback` in a loop, after so many seconds, unless it is discarded from the set that this returns.

    It runs in no context of its own: what it starts would have that of another wait. One that raises is logged, and
    disturbs none of the others.
    """
    if seconds == inf:
        return set()
    ticks = _of_loops.get(loop)
    if ticks is None:
        ticks = _of_loops[loop] = {}
    tick = SHORT_TICK if seconds < SHORT else LONG_TICK
    end = ((loop.time() + seconds) // tick + 1.0) * tick
    waiting = ticks.get(end)
    if waiting is None:
        waiting = ticks[end] = set()
        loop.call_at(end, _end, ticks, end, context=Context())
    waiting.add(callback)
    return waiting


def _end(ticks: dict[float, Waiting], end: float) -> None:
    _call(ticks.pop(end))


def _call(waiting: Waiting) -> None:
    try:
        while waiting:
            waiting.pop()()
    finally:
        if waiting:  # one has raised
            asyncio.get_running_loop().call_soon(_call, waiting)
