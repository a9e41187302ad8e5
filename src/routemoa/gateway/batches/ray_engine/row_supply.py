"""Hands out the rows of a job to workers that may be lost: each row again until it has its result."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice

from routemoa.datasets.input_rows import InputRow

__all__ = ["RowSupply"]


class RowSupply:
    """The rows without a result.

    Args:
        rows: in their order.
    """

    def __init__(self, rows: Iterator[InputRow]) -> None:
        self._rows = rows
        self._returned: deque[InputRow] = deque()
        self._out = 0
        """Rows that workers have."""
        self._is_read = self._is_stopped = False
        self._changed = asyncio.Condition()
        self.over = asyncio.Event()
        """Set once every row has its result, or no further one is to be answered and no worker has any."""

    async def take(self, count: int, *, may_wait: bool) -> list[InputRow]:
        """Return up to so many rows; none at the end.

        Args:
            count: of rows.
            may_wait: wait for rows that other workers have, as those may be lost.
        """
        async with self._changed:
            while True:
                taken = [self._returned.popleft() for _ in range(min(count, len(self._returned)))]
                if len(taken) < count and not self._is_read:
                    taken += await self._read(count - len(taken))
                self._out += len(taken)
                self._check()
                if taken or not may_wait or self.over.is_set():
                    return taken
                await self._changed.wait()

    async def finish(self, count: int) -> None:
        """Note that so many rows that were handed out need no worker any more."""
        async with self._changed:
            self._out -= count
            self._check()

    async def put_back(self, rows: Iterable[InputRow]) -> None:
        """Take back the rows of a worker that is lost."""
        async with self._changed:
            lost = list(rows)
            self._out -= len(lost)
            if not self._is_stopped:
                self._returned.extend(lost)
            self._check()

    async def stop(self) -> None:
        """Hand out no more rows."""
        self._is_stopped = True  # also for rows that are being read at this moment
        async with self._changed:
            self._is_read = True
            self._returned.clear()
            self._check()

    async def _read(self, count: int) -> list[InputRow]:
        rows = await asyncio.to_thread(lambda: list(islice(self._rows, count)))
        self._is_read = self._is_stopped or len(rows) < count
        return [] if self._is_stopped else rows

    def _check(self) -> None:
        if self._is_read and not self._returned and not self._out:
            self.over.set()
        self._changed.notify_all()
