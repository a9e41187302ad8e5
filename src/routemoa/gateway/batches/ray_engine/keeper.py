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
from routemoa.gateway.batches.jobs.journal import CallEnd, CallJournal, Spending, open_journal
from routemoa.gateway.batches.jobs.pace import Pace
from routemoa.gateway.batches.jobs.run_job import JobOptions
from routemoa.mixture.budget.leased_run import Grant, Leases

__all__ = ["CallNote", "Keeper"]


class CallNote(Struct, frozen=True, omit_defaults=True):
    """What a worker tells of a call: its start, or its end; the end alone where both are news."""

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
        self._pace = Pace(options.calls_per_minute, options.tokens_per_minute)
        self._leases = Leases(options.max_cost)
        self._open: dict[str, dict[int, int]] = {}
        """Worker -> its own number of a call under way -> the journal's."""
        self._slots: dict[int, str] = {}
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
        self._journal.forfeit(numbers, self._leases.forfeit(worker))

    async def wait(self) -> None:
        """Wait until a row may begin, within the rates."""
        await self._pace.wait()

    async def record(self, worker: str, notes: bytes, written: Sequence[int]) -> Spending:
        """Write down what became of a worker's calls; return what the job has spent.

        Args:
            worker: its name.
            notes: of its calls since the last message.
            written: rows whose results are on disk.

        Raises:
            RecordsError: the journal cannot be written.
        """
        opened = self._open.setdefault(worker, {})
        for note in msgspec.json.decode(notes, type=list[CallNote]):
            if note.number not in opened:
                self._pace.count_call()
            if note.end is None:
                opened[note.number] = self._journal.start(note.row, note.most)
                continue
            self._journal.end(opened.pop(note.number, 0), note.end)
            self._leases.record(worker, note.end.charged)
            if (answer := note.end.completion) is not None:
                self._pace.count_tokens((answer.usage.prompt_tokens or 0) + (answer.usage.completion_tokens or 0))
        self._finish_rows(written)
        return self._journal.spending

    async def lease(
        self, worker: str, notes: bytes, written: Sequence[int], needed: float, returned: float
    ) -> tuple[Grant, Spending]:
        """Record; take back what a worker does not need; grant dollars for several calls of `needed` each at most."""
        spending = await self.record(worker, notes, written)
        returned = self._leases.give_back(worker, returned)
        self._leases.spent = spending.most  # it counts whatever may be lost
        grant = self._leases.grant(worker, needed)
        if change := (grant.dollars or 0.0) - returned:
            self._journal.lease(change)
        return grant, spending

    async def give_back(self, worker: str, dollars: float) -> None:
        """Take back what a worker does not need now."""
        self._journal.lease(-self._leases.give_back(worker, dollars))

    async def find_paid(self) -> list[int]:
        """Return the rows that have answers and no result."""
        return self._journal.paid_rows

    async def find_answers(self, rows: Sequence[int]) -> bytes:
        """Return what rows have paid for."""
        return msgspec.json.encode(self._journal.find_answers(rows))

    async def close(self, written: Sequence[int] = ()) -> Spending:
        """Count what workers have not given back, close the journal, and return what the job has spent."""
        self._finish_rows(written)
        for worker in {*self._leases.workers, *self._open}:
            await self.forfeit(worker)
        self._journal.close()
        return self._journal.spending

    def _finish_rows(self, rows: Sequence[int]) -> None:
        for row in rows:
            self._journal.finish_row(row)
