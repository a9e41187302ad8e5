"""Holds a job to rates a minute. Rows wait before they begin, calls never: a call that waits looks like a slow one.

Each call and its tokens are counted when they are made; while more were made than the rate allows, no row begins. So
the rate holds in the long run, and is passed for a moment by the calls of the rows under way at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

__all__ = ["Pace"]

MINUTE = 60.0


class Pace:
    """The rates of a job; None is no limit.

    Args:
        calls: to models, a minute.
        tokens: of prompts and answers, a minute.
        clock: seconds, never going back.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        calls: float | None = None,
        tokens: float | None = None,
        *,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rates = [calls, tokens]
        self._clock, self._sleep = clock, sleep
        self._free_at = [clock(), clock()]
        """When what was counted is within each rate."""

    def count_call(self) -> None:
        """Count a call."""
        self._count(0, 1)

    def count_tokens(self, tokens: int) -> None:
        """Count the tokens of a call."""
        self._count(1, tokens)

    async def wait(self) -> None:
        """Wait until a row may begin."""
        while (seconds := max(self._free_at) - self._clock()) > 0 and any(self._rates):
            await self._sleep(seconds)

    def _count(self, which: int, amount: float) -> None:
        if rate := self._rates[which]:
            self._free_at[which] = max(self._free_at[which], self._clock()) + amount * MINUTE / rate
