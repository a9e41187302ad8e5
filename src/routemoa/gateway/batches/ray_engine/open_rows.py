"""The rows that a worker on Ray has: so many are answered at a time, the others wait, results gather for the driver.

It is no part of the actor's class: Ray wraps each method of that one, also those that only the worker itself calls.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

import msgspec

from routemoa.core.errors import BudgetExceeded
from routemoa.datasets.input_rows import InputRow
from routemoa.gateway.batches.jobs.results import RowResult

__all__ = ["EndedRow", "OpenRows"]

GATHER_SECONDS = 0.4
"""Until a result is sent, at most: results go many at a time, with what the keeper is told in any case."""
FEW_WAITING = 0.25
"""Of the rows that waited at the last look: so few are left when further ones are fetched."""

EndedRow = tuple[int, bytes, bool]
"""Number of a row, its encoded result, and whether it failed."""


class OpenRows:
    """Answers rows, so many at a time.

    Args:
        places: rows that are answered at the same time.
        answer: returns the result of a row. Raises BudgetExceeded.
        before_row: waits until a row may begin.
        on_end: called with the number of each row that needs this worker no more.
    """

    def __init__(
        self,
        places: int,
        answer: Callable[[InputRow], Awaitable[RowResult]],
        before_row: Callable[[], Awaitable[None]] | None,
        on_end: Callable[[int], None],
    ) -> None:
        self._places, self._answer, self._before_row, self._on_end = places, answer, before_row, on_end
        self._waiting: deque[InputRow] = deque()
        self._running: dict[int, asyncio.Task[None]] = {}
        self._few = 0
        """Waiting rows at which further ones are fetched."""
        self._ended: list[EndedRow] = []
        self._unanswered: list[int] = []
        self._fault: Exception | None = None
        self._has_enough = asyncio.Event()
        self.exceeded: str | None = None
        """What the budget did not allow."""

    @property
    def is_empty(self) -> bool:
        """Return whether no row waits or is being answered."""
        return not self._running and not self._waiting

    def add(self, rows: Iterable[InputRow]) -> None:
        """Take further rows; those that are here already are left out."""
        known = self._running.keys() | {row.number for row in self._waiting}
        self._waiting.extend(row for row in rows if row.number not in known)
        self._begin_rows()
        self._few = int(len(self._waiting) * FEW_WAITING) if self._waiting else -1  # none came: there are no more
        self._has_enough.clear()

    async def take_ended(self) -> tuple[list[EndedRow], list[int]]:
        """Wait until some rows have ended; return them, and the numbers of those that the budget did not allow.

        Raises:
            RecordsError: the keeper cannot write down what calls cost.
        """
        while not self.is_empty and not self._fault:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._has_enough.wait(), GATHER_SECONDS)
            if self._ended or self._unanswered:
                break
        if self._fault is not None:
            raise self._fault
        ended, self._ended = self._ended, []
        unanswered, self._unanswered = self._unanswered, []
        return ended, unanswered

    async def cancel(self) -> None:
        """Answer no more rows, and wait until their calls have ended."""
        self._waiting.clear()
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin_rows(self) -> None:
        while self._waiting and len(self._running) < self._places:
            row = self._waiting.popleft()
            self._running[row.number] = asyncio.create_task(self._run(row))

    async def _run(self, row: InputRow) -> None:
        try:
            if self._before_row is not None:
                await self._before_row()
            if self.exceeded is not None:
                self._unanswered.append(row.number)
                return
            result = await self._answer(row)
            self._ended.append((row.number, msgspec.json.encode(result), result.error is not None))
        except BudgetExceeded as e:
            self.exceeded = str(e)
            self._unanswered.append(row.number)
        except Exception as e:  # `take_ended` raises it
            self._fault = e
        finally:
            del self._running[row.number]
            self._on_end(row.number)
            self._begin_rows()
            if self.is_empty or self._fault or len(self._waiting) <= self._few:
                self._has_enough.set()
