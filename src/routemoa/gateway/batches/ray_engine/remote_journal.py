"""The journal of a worker on Ray: it tells the keeper of its calls, many at a time, and asks it for dollars at once."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import monotonic
from typing import Any, cast

import msgspec
from msgspec.structs import replace

from routemoa.gateway.batches.jobs.journal import CallEnd, FinishedCalls, Spending, gather_answers
from routemoa.gateway.batches.ray_engine.keeper import CallNote
from routemoa.mixture.budget.leased_run import Grant

__all__ = ["FLUSH_SECONDS", "RemoteJournal"]

FLUSH_SECONDS = 0.5
"""Until the keeper hears of a call, at most: a message takes as much processor time as a tenth of a row."""
FLUSH_NOTES = 256
"""Of calls, after which it hears of them at once: what a worker that is lost has not told is paid for again."""


class RemoteJournal:
    """A `Journal` that tells the keeper, many calls at a time.

    Args:
        keeper: the actor.
        worker: its name.
        lost: what Ray raises where the keeper is lost.
    """

    def __init__(self, keeper: Any, worker: str, lost: type[Exception]) -> None:
        self._keeper, self._worker, self._lost = keeper, worker, lost
        self._record = keeper.record.options(max_task_retries=0)  # not twice: dollars would count twice
        self._lease = keeper.lease.options(max_task_retries=0)
        self._notes: dict[int, CallNote] = {}
        """By their calls: of one that began and ended since the last message, its end says all."""
        self._written: list[int] = []
        """Rows whose results the driver has written since then: the keeper needs their answers no more."""
        self._oldest = 0.0
        """When the first of them was noted."""
        self._next = 0
        self._flushing: asyncio.Task[None] | None = None
        self._is_full = asyncio.Event()
        self._sending = asyncio.Lock()
        self.ended: dict[int, list[CallEnd]] = {}
        """Answers of open rows, for another attempt."""
        self.spending = Spending()
        """What the job had spent at the last message."""

    def start(self, row: int, most: float | None) -> int:
        """Note that a call is about to be made; return its number."""
        self._next += 1
        self._add(CallNote(self._next, row, most))
        return self._next

    def end(self, number: int, end: CallEnd) -> None:
        """Note how a call ended."""
        self._add(CallNote(number, end.row, None, end))
        if end.completion is not None:
            self.ended.setdefault(end.row, []).append(end)

    def take_finished(self, row: int) -> FinishedCalls:
        """Return the answers of a row's calls that ended."""
        return gather_answers(self.ended.get(row, ()))

    def finish_row(self, row: int) -> None:
        """Drop the answers of a row that has its result."""
        self.ended.pop(row, None)

    def note_written(self, rows: list[int]) -> None:
        """Note that results have been written, for the next message."""
        self._written += rows

    async def flush(self) -> None:
        """Wait until the keeper has all that is noted by now. Raises RecordsError."""
        async with self._sending:
            if self._notes or self._written:
                self.spending = await self._send(self._record)

    async def lease(self, needed: float, returned: float) -> Grant:
        """Tell the keeper all that is noted and ask it for dollars, in one message. Raises RecordsError."""
        async with self._sending:
            grant, self.spending = await self._send(self._lease, needed, returned)
            return cast(Grant, grant)

    async def _send(self, method: Any, *dollars: float) -> Any:
        """Call a method of the keeper with all that is noted, again where it is lost; return what it returns."""
        while True:
            notes, self._notes = self._notes, {}
            written, self._written = self._written, []
            try:
                return await method.remote(self._worker, msgspec.json.encode(list(notes.values())), written, *dollars)
            except self._lost:
                self._notes = {number: _make_unsure(note) for number, note in notes.items()} | self._notes
                self._written = written + self._written
                await self._keeper.start.remote()  # waits until Ray has started it again

    def _add(self, note: CallNote) -> None:
        if not self._notes:
            self._oldest = monotonic()
        self._notes[note.number] = note
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush_soon())
        if len(self._notes) >= FLUSH_NOTES:
            self._is_full.set()

    async def _flush_soon(self) -> None:
        while self._notes:
            while self._notes and (seconds := self._oldest + FLUSH_SECONDS - monotonic()) > 0.0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._is_full.wait(), seconds)
                    break
            self._is_full.clear()
            await self.flush()


def _make_unsure(note: CallNote) -> CallNote:
    """Return a note that the keeper may have written before it was lost: its dollars count at most once as a cost."""
    return note if note.end is None else replace(note, end=replace(note.end, cost=None))
