"""Answers the rows of a job in this process, so many at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice

from routemoa.core.errors import BudgetExceeded
from routemoa.datasets.collector import gather_or_cancel
from routemoa.datasets.input_rows import InputRow
from routemoa.gateway.batches.jobs.results import RowResult

__all__ = ["RowQueue", "answer_rows"]

READ_AHEAD = 64
"""Rows that are read at once, in a thread: the input may be far away."""


class RowQueue:
    """Hands out rows to several workers, and reads further ones as they are taken."""

    def __init__(self, rows: Iterator[InputRow]) -> None:
        self._rows = rows
        self._waiting: deque[InputRow] = deque()
        self._lock = asyncio.Lock()
        self._is_over = False
        self._is_stopped = False

    async def take(self) -> InputRow | None:
        """Return the next row; None at the end, or once `stop` was called."""
        async with self._lock:
            if not self._waiting and not self._is_over:
                self._waiting.extend(await asyncio.to_thread(lambda: list(islice(self._rows, READ_AHEAD))))
                self._is_over = not self._waiting
            return self._waiting.popleft() if self._waiting and not self._is_stopped else None

    def stop(self) -> None:
        """Hand out no more rows."""
        self._is_stopped = self._is_over = True  # rows that are being read at this moment are not handed out either
        self._waiting.clear()


async def answer_rows(
    queue: RowQueue,
    answer: Callable[[InputRow], Awaitable[RowResult]],
    on_result: Callable[[RowResult], None],
    *,
    concurrency: int,
    before_row: Callable[[], Awaitable[None]],
) -> None:
    """Answer all rows of a queue; `on_result` writes each result.

    Args:
        queue: of the rows without a result.
        answer: returns the result of a row. Raises BudgetExceeded.
        on_result: takes each result.
        concurrency: rows at a time.
        before_row: waits until a row may begin.

    Raises:
        BudgetExceeded: the job's budget is reached; the rows under way went on to their ends.
    """
    exceeded: list[BudgetExceeded] = []

    async def work() -> None:
        while (row := await queue.take()) is not None:
            await before_row()
            if exceeded:
                return
            try:
                on_result(await answer(row))
            except BudgetExceeded as e:
                exceeded.append(e)
                queue.stop()

    await gather_or_cancel([asyncio.create_task(work()) for _ in range(concurrency)])
    if exceeded:
        raise exceeded[0]
