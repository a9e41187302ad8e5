"""The keeper of a job on Ray: one named actor that holds the budget, the rates and the journal of calls.

It is a plain class; `engine` makes an actor of it. What it says is on disk first, so Ray may start it again: what was
leased then counts as spent, as nothing tells what became of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from routemoa.datasets.jsonl import RecordsError
from routemoa.gateway.batches.journal import CallEnd, CallJournal, Spending, open_journal
from routemoa.gateway.batches.pace import Pace
from routemoa.gateway.batches.ray_engine.leased_run import Grant
from routemoa.gateway.batches.run_job import JobOptions

__all__ = ["CallNote", "Keeper"]

LEASE_CALLS = 8
"""Calls of the largest cost that a worker is leased dollars for at once: they count as spent where it is lost."""
ROUNDING = 1e-9
"""Of the limit: sums of floats are not exact."""


class CallNote(Struct, frozen=True, omit_defaults=True):
    """What a worker tells of a call: its start, or its end."""

    number: int
    """The worker's own."""
    row: int
    most: float | None = None
    end: CallEnd | None = None


class Keeper:
    """Holds the budget, the rates and the journal of a job, on the driver's machine.

    Args:
        folder: of the job.
        done: a byte for each row, 1 where it has a result.
        options: the limits.
    """

    def __init__(self, folder: str, done: bytes, options: JobOptions) -> None:
        self._limit = options.max_cost or 0.0
        self._pace = Pace(options.calls_per_minute, options.tokens_per_minute)
        self._leases: dict[str, float] = {}
        """Worker -> dollars that it may still spend, calls under way included."""
        self._open: dict[str, dict[int, int]] = {}
        """Worker -> its own number of a call under way -> the journal's."""
        self._slots: dict[int, str] = {}
        self._largest = 0.0
        """Dollars that a call has needed."""
        self._fault: RecordsError | None = None
        try:
            self._opened: CallJournal | None = open_journal(
                Path(folder), lambda row: row < len(done) and done[row] == 1
            )
        except RecordsError as e:  # Ray would tell no more of it than that this actor died
            self._opened, self._fault = None, e

    @property
    def _journal(self) -> CallJournal:
        if self._opened is None:
            raise self._fault or RecordsError([])
        return self._opened

    async def start(self) -> Spending:
        """Return what the job has spent. Raises RecordsError where the journal cannot be opened."""
        return self._journal.spending

    async def join(self, slot: int, worker: str) -> None:
        """Take a worker in the place of the one before it, which is lost."""
        if (lost := self._slots.get(slot)) is not None and lost != worker:
            await self.forfeit(lost)
        self._slots[slot] = worker

    async def forfeit(self, worker: str) -> None:
        """Count what a worker that is lost may have spent as spent."""
        numbers = list(self._open.pop(worker, {}).values())
        self._journal.forfeit(numbers, self._leases.pop(worker, 0.0))

    async def wait(self) -> None:
        """Wait until a row may begin, within the rates."""
        await self._pace.wait()

    async def lease(self, worker: str, needed: float, returned: float) -> Grant:
        """Take back what a worker does not need; grant dollars for several calls that cost `needed` each at most."""
        held = self._leases.get(worker, 0.0)
        returned = min(returned, held)
        leased = sum(self._leases.values()) - returned
        left = self._limit - self._journal.spending.most - leased
        if left >= needed:
            self._largest = max(self._largest, needed)
            dollars: float | None = min(left, LEASE_CALLS * self._largest)
        else:
            may_come = leased > self._limit * ROUNDING and self._journal.spending.most + needed <= self._limit
            dollars = None if may_come else 0.0
        change = (dollars or 0.0) - returned
        if change:
            self._journal.lease(change)
            self._leases[worker] = held + change
        return Grant(dollars, left, self._limit)

    async def release(self, worker: str, dollars: float) -> None:
        """Take back what a worker does not need now."""
        given = min(dollars, self._leases.get(worker, 0.0))
        self._leases[worker] = self._leases.get(worker, 0.0) - given
        self._journal.lease(-given)

    async def record(self, worker: str, notes: bytes) -> None:
        """Write down what became of a worker's calls. Raises RecordsError."""
        opened = self._open.setdefault(worker, {})
        for note in msgspec.json.decode(notes, type=list[CallNote]):
            if note.end is None:
                opened[note.number] = self._journal.start(note.row, note.most)
                self._pace.count_call()
                continue
            self._journal.end(opened.pop(note.number, 0), note.end)
            self._leases[worker] = max(0.0, self._leases.get(worker, 0.0) - note.end.charged)
            if (answer := note.end.completion) is not None:
                self._pace.count_tokens((answer.usage.prompt_tokens or 0) + (answer.usage.completion_tokens or 0))

    async def turn(self, ended: Sequence[int], further: Sequence[int]) -> tuple[Spending, bytes]:
        """Note that rows have their results; return what the job has spent, and what further ones have paid for."""
        for row in ended:
            self._journal.finish_row(row)
        return self._journal.spending, msgspec.json.encode(self._journal.find_answers(further))

    async def close(self) -> Spending:
        """Count what workers have not given back, close the journal, and return what the job has spent."""
        for worker in {*self._leases, *self._open}:
            await self.forfeit(worker)
        self._journal.close()
        return self._journal.spending
