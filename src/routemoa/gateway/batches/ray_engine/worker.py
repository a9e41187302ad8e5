"""A worker of a job on Ray, which answers rows with a `RouteMoA` of its own. A plain class; `engine` makes actors.

A worker that is lost is started again by Ray. The keeper then counts what the lost one may have spent, and gives the
answers that were paid for to whatever worker gets its rows.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection
from contextlib import suppress
from time import monotonic
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from routemoa.clients.connect import connect
from routemoa.core.errors import BudgetExceeded
from routemoa.core.pool_file.pool import Pool
from routemoa.core.protocols import CallRecorder
from routemoa.datasets.input_rows import InputRow
from routemoa.gateway.batches.jobs.answering import RowAnswerer
from routemoa.gateway.batches.jobs.job_client import JobClient
from routemoa.gateway.batches.jobs.journal import CallEnd, FinishedCalls, gather_answers
from routemoa.gateway.batches.jobs.pace import Pace
from routemoa.gateway.batches.jobs.run_job import JobOptions
from routemoa.gateway.batches.ray_engine.keeper import CallNote
from routemoa.ledger import Store, StoreError, default_path
from routemoa.mixture.budget.leased_run import Grant, LeasedRun
from routemoa.mixture.budget.run_client import RunClient

__all__ = ["RowWorker", "RowsEnded", "WorkerSettings"]

FLUSH_SECONDS = 0.5
"""Until the keeper hears of a call, at most: a message takes as much processor time as a tenth of a row."""
FLUSH_NOTES = 64
"""Of calls, after which it hears of them at once: what a worker that is lost has not told is paid for again."""
GATHER_SECONDS = 1.0
"""Until a result is sent, at most: results go many at a time."""


class RowsEnded(Struct, frozen=True):
    """What became of rows since the last look."""

    lines: list[tuple[int, bytes, bool]]
    """Number of a row, its encoded result, and whether it failed."""
    unanswered: list[int]
    """Rows that have no result, because of the job's budget."""
    exceeded: str | None = None
    """What the budget did not allow."""


class WorkerSettings(Struct, frozen=True):
    """What all workers of a job share."""

    pool: Pool
    options: JobOptions
    rows: int
    """That one worker answers at the same time."""


class RemoteJournal:
    """A `Journal` that tells the keeper, many calls at a time.

    Args:
        keeper: the actor.
        worker: its name.
        lost: what Ray raises where the keeper is lost.
    """

    def __init__(self, keeper: Any, worker: str, lost: type[Exception]) -> None:
        self._keeper, self._worker, self._lost = keeper, worker, lost
        self._notes: dict[int, CallNote] = {}
        """By their calls: of one that began and ended since the last message, its end says all."""
        self._oldest = 0.0
        """When the first of them was noted."""
        self._next = 0
        self._flushing: asyncio.Task[None] | None = None
        self._is_full = asyncio.Event()
        self._sending = asyncio.Lock()
        self.ended: dict[int, list[CallEnd]] = {}
        """Answers of open rows, for another attempt."""

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

    async def flush(self) -> None:
        """Wait until the keeper has all that is noted by now. Raises RecordsError."""
        async with self._sending:
            is_told = not self._notes
            while not is_told:
                notes, self._notes = self._notes, {}
                record = self._keeper.record.options(max_task_retries=0)  # not twice: its dollars would count twice
                try:
                    await record.remote(self._worker, msgspec.json.encode(list(notes.values())))
                    is_told = True  # what was noted meanwhile is for the next message
                except self._lost:
                    self._notes = {number: _make_unsure(note) for number, note in notes.items()} | self._notes
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


class RowWorker:
    """Answers rows with a `RouteMoA` of its own.

    Args:
        slot: number of the worker.
        keeper: the name of the keeper: a handle could not be used again where Ray starts this worker again.
        settings: of all workers.
    """

    def __init__(self, slot: int, keeper: str, settings: WorkerSettings) -> None:
        import ray

        self._slot, self._settings = slot, settings
        self._keeper: Any = ray.get_actor(keeper)
        self._name = secrets.token_hex(8)
        self._answerer: RowAnswerer | None = None
        self._journal = RemoteJournal(self._keeper, self._name, ray.exceptions.RayActorError)
        self._run: RunClient
        self._repeated: set[int] = set()
        self._starting = asyncio.Lock()
        self._places = asyncio.Semaphore(settings.rows)
        self._running: dict[int, asyncio.Task[None]] = {}
        self._ended: list[tuple[int, bytes, bool]] = []
        self._unanswered: list[int] = []
        self._exceeded: str | None = None
        self._fault: Exception | None = None
        self._has_enough = asyncio.Event()
        """Set where as many rows have ended as there are places, or all."""

    async def start(self) -> str:
        """Connect, take the place of the worker before this one, and return the name of this one."""
        async with self._starting:
            if self._answerer is None:
                await self._keeper.join.remote(self._slot, self._name)
                self._answerer = self._connect()
        return self._name

    async def exchange(self, rows: list[InputRow], repeated: Collection[int], paid: bytes) -> RowsEnded:
        """Take further rows, wait until some rows have ended, and return them.

        Args:
            rows: to be answered, beside those that were sent before.
            repeated: numbers of those that repeat an id.
            paid: answers to their calls that a worker before this one paid for.

        Raises:
            RecordsError: the keeper cannot write down what calls cost.
        """
        await self.start()
        self._repeated.update(repeated)
        rows = [row for row in rows if row.number not in self._running]
        self._journal.ended |= msgspec.json.decode(paid, type=dict[int, list[CallEnd]])
        for row in rows:
            self._running[row.number] = asyncio.create_task(self._answer(row))
        while self._running and not (self._ended or self._unanswered or self._fault):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._has_enough.wait(), GATHER_SECONDS)
        if self._fault is not None:
            raise self._fault
        ended, self._ended = self._ended, []
        unanswered, self._unanswered = self._unanswered, []
        self._has_enough.clear()
        if self._running:
            await self._journal.flush()  # before the results are written: then the answers are not needed any more
        else:
            await self._give_back()
        return RowsEnded(ended, unanswered, self._exceeded)

    async def stop(self) -> None:
        """Cancel all rows, and tell the keeper what their calls came to."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._give_back()

    async def _answer(self, row: InputRow) -> None:
        try:
            async with self._places:
                line = await self._try(row)
            if line is None:
                self._unanswered.append(row.number)
            else:
                self._ended.append(line)
        except Exception as e:  # `exchange` raises it
            self._fault = e
        finally:
            self._running.pop(row.number, None)
            self._repeated.discard(row.number)
            self._journal.finish_row(row.number)
            if not self._running or len(self._ended) >= self._settings.rows:
                self._has_enough.set()

    async def _try(self, row: InputRow) -> tuple[int, bytes, bool] | None:
        """Return the encoded result of a row; None where the job's budget allows none."""
        options = self._settings.options
        if options.calls_per_minute or options.tokens_per_minute:
            await self._keeper.wait.remote()
        answerer = self._answerer
        if self._exceeded is not None or answerer is None:
            return None
        try:
            result = await answerer.answer(row)
        except BudgetExceeded as e:
            self._exceeded = str(e)
            return None
        return row.number, msgspec.json.encode(result), result.error is not None

    def _connect(self) -> RowAnswerer:
        pool, options = self._settings.pool, self._settings.options
        client = connect(pool)
        self._run = RunClient(client) if options.max_cost is None else LeasedRun(client, self._lease)
        store = _open_store()

        def new_recorder(method: str) -> CallRecorder | None:
            return None if store is None else store.recorder(None, method, "batch")

        return RowAnswerer(
            pool,
            JobClient(client, self._run, self._journal, Pace()),
            options.rules,
            new_recorder=new_recorder,
            is_repeated=lambda number: number in self._repeated,
            keeps_traces=options.keeps_traces,
            for_operator=options.for_operator,
        )

    async def _lease(self, needed: float, returned: float) -> Grant:
        await self._journal.flush()
        grant: Grant = await self._keeper.lease.remote(self._name, needed, returned)
        return grant

    async def _give_back(self) -> None:
        """Tell the keeper all, and give back what is left of the lease, while nothing is under way."""
        await self._journal.flush()
        if self._answerer is not None and isinstance(self._run, LeasedRun) and not self._run.account.reserved:
            await self._keeper.give_back.remote(self._name, await self._run.give_back())


def _open_store() -> Store | None:
    """Return the ledger of this machine, where it can be written."""
    try:
        return Store(default_path())
    except StoreError:
        return None
