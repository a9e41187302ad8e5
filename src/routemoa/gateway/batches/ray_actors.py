"""The actors of a job on Ray: one keeper, which holds the budget, the rates and the journal, and workers that answer.

They are plain classes; `ray_engine` makes actors of them. A worker that is lost is started again by Ray, and its rows
with it; the keeper gives them the answers that were paid for, and counts what the lost one may have spent.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from routemoa.clients.connect import connect
from routemoa.core.errors import BudgetExceeded
from routemoa.core.pool import Pool
from routemoa.core.protocols import CallRecorder
from routemoa.datasets.input_rows import InputRow
from routemoa.gateway.batches.answering import RowAnswerer
from routemoa.gateway.batches.job_client import JobClient
from routemoa.gateway.batches.journal import CallEnd, FinishedCalls, Spending, gather_answers, open_journal
from routemoa.gateway.batches.pace import Pace
from routemoa.gateway.batches.run_job import JobOptions
from routemoa.ledger import Store, StoreError, default_path
from routemoa.mixture.budget.leased_run import LEASE_CALLS, LeasedRun
from routemoa.mixture.budget.run_client import RunClient

__all__ = ["CallNote", "ChunkResult", "Keeper", "RowWorker", "WorkerSettings"]

FLUSH_SECONDS = 0.05


class CallNote(Struct, frozen=True, omit_defaults=True):
    """What a worker tells of a call: its start, or its end."""

    number: int
    """The worker's own."""
    row: int
    most: float | None = None
    end: CallEnd | None = None


class ChunkResult(Struct, frozen=True):
    """The encoded results of a few rows."""

    lines: list[tuple[int, bytes, bool]]
    """Number of the row, its line, and whether it failed."""
    exceeded: str | None = None
    """Why some rows have none: the job's budget."""


class WorkerSettings(Struct, frozen=True):
    """What all workers of a job share."""

    pool: Pool
    options: JobOptions


class Keeper:
    """Holds the budget, the rates and the journal of a job, on the driver's machine.

    Args:
        folder: of the job.
        done: a byte for each row, 1 where it has a result.
        options: the limits.
    """

    def __init__(self, folder: str, done: bytes, options: JobOptions) -> None:
        self._journal = open_journal(Path(folder), lambda row: row < len(done) and done[row] == 1)
        self._max_cost = options.max_cost
        self._pace = Pace(options.calls_per_minute, options.tokens_per_minute)
        self._leases: dict[str, float] = {}
        """Worker -> dollars that it may still spend, calls under way included."""
        self._open: dict[str, dict[int, int]] = {}
        """Worker -> its own number of a call under way -> the journal's."""
        self._slots: dict[int, str] = {}

    async def join(self, slot: int, worker: str) -> None:
        """Take a worker in the place of the one before it, which is lost."""
        if (lost := self._slots.get(slot)) is not None and lost != worker:
            numbers = list(self._open.pop(lost, {}).values())
            self._journal.forfeit(numbers, self._leases.pop(lost, 0.0))
        self._slots[slot] = worker

    async def begin(self, rows: Sequence[int]) -> bytes:
        """Wait until rows may begin; return the answers to their calls that are paid for."""
        await self._pace.wait()
        return msgspec.json.encode(self._journal.find_answers(rows))

    async def lease(self, worker: str, most: float) -> float | None:
        """Grant dollars for several calls that cost `most`; None while they may still come, 0 where none are left."""
        limit = self._max_cost or 0.0
        leased = sum(self._leases.values())
        left = limit - self._journal.spending.most - leased
        granted = min(left, LEASE_CALLS * most)
        if granted < most:
            others = leased - self._leases.get(worker, 0.0)
            return None if others > 0.0 and self._journal.spending.most + most <= limit else 0.0
        self._journal.lease(granted)
        self._leases[worker] = self._leases.get(worker, 0.0) + granted
        return granted

    async def release(self, worker: str, dollars: float) -> None:
        """Take back what a worker does not need now."""
        given = min(dollars, self._leases.get(worker, 0.0))
        self._leases[worker] = self._leases.get(worker, 0.0) - given
        self._journal.lease(-given)

    async def record(self, worker: str, notes: bytes) -> None:
        """Write down what became of a worker's calls."""
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

    async def finish(self, rows: Sequence[int]) -> Spending:
        """Note that rows have their results; return what the job has spent."""
        for row in rows:
            self._journal.finish_row(row)
        return self._journal.spending

    async def close(self) -> Spending:
        """Close the journal; return what the job has spent."""
        self._journal.close()
        return self._journal.spending


class _RemoteJournal:
    """A `Journal` that tells the keeper, many calls at a time."""

    def __init__(self, keeper: Any, worker: str) -> None:
        self._keeper, self._worker = keeper, worker
        self._notes: list[CallNote] = []
        self._next = 0
        self._flushing: asyncio.Task[None] | None = None
        self.ended: dict[int, list[CallEnd]] = {}

    def start(self, row: int, most: float | None) -> int:
        self._next += 1
        self._add(CallNote(self._next, row, most))
        return self._next

    def end(self, number: int, end: CallEnd) -> None:
        self._add(CallNote(number, end.row, None, end))
        if end.completion is not None:  # for another attempt of the row
            self.ended.setdefault(end.row, []).append(end)

    def take_finished(self, row: int) -> FinishedCalls:
        return gather_answers(self.ended.get(row, ()))

    def finish_row(self, row: int) -> None:
        self.ended.pop(row, None)

    async def flush(self) -> None:
        """Wait until the keeper has all that was noted."""
        while self._notes:
            notes, self._notes = self._notes, []
            await self._keeper.record.remote(self._worker, msgspec.json.encode(notes))

    def _add(self, note: CallNote) -> None:
        self._notes.append(note)
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush_soon())

    async def _flush_soon(self) -> None:
        await asyncio.sleep(FLUSH_SECONDS)
        await self.flush()


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
        self._journal = _RemoteJournal(self._keeper, self._name)
        self._run: RunClient
        self._repeated: set[int] = set()
        self._starting = asyncio.Lock()
        self._busy = 0

    async def answer(self, rows: list[InputRow], repeated: Collection[int]) -> ChunkResult:
        """Return the results of rows, all at a time; `repeated` are the numbers of those that repeat an id."""
        self._repeated.update(repeated)
        async with self._starting:
            if self._answerer is None:
                await self._start()
        answerer = self._answerer
        assert answerer is not None  # noqa: S101  (it is started)
        self._busy += 1
        try:
            paid = await self._keeper.begin.remote([row.number for row in rows])
            self._journal.ended |= msgspec.json.decode(paid, type=dict[int, list[CallEnd]])
            results = await asyncio.gather(*(self._answer(answerer, row) for row in rows))
            await self._journal.flush()
        finally:
            self._busy -= 1
        if not self._busy:
            await self._give_back()
        lines = [line for line in results if not isinstance(line, str)]
        return ChunkResult(lines, next((reason for reason in results if isinstance(reason, str)), None))

    async def _answer(self, answerer: RowAnswerer, row: InputRow) -> tuple[int, bytes, bool] | str:
        try:
            result = await answerer.answer(row)
        except BudgetExceeded as e:
            return str(e)
        self._journal.finish_row(row.number)
        return row.number, msgspec.json.encode(result), result.error is not None

    async def _start(self) -> None:
        """Connect, and take the place of the worker before this one."""
        await self._keeper.join.remote(self._slot, self._name)
        pool, options = self._settings.pool, self._settings.options
        client = connect(pool)
        self._run = RunClient(client) if options.max_cost is None else LeasedRun(client, self._lease)
        store = _open_store()

        def new_recorder(method: str) -> CallRecorder | None:
            return None if store is None else store.recorder(None, method, "batch")

        self._answerer = RowAnswerer(
            pool,
            JobClient(client, self._run, self._journal, Pace()),
            options.rules,
            new_recorder=new_recorder,
            is_repeated=lambda number: number in self._repeated,
            keeps_traces=options.keeps_traces,
            for_operator=options.for_operator,
        )

    async def _lease(self, most: float, spare: float) -> float | None:
        await self._journal.flush()
        if spare:
            await self._keeper.release.remote(self._name, spare)
        granted: float | None = await self._keeper.lease.remote(self._name, most)
        return granted

    async def _give_back(self) -> None:
        """Give back what is left of the lease, while nothing is under way."""
        account = self._run.account
        if isinstance(self._run, LeasedRun) and not account.reserved and (left := account.remaining.cost or 0.0) > 0.0:
            self._run.shrink(left)
            await self._keeper.release.remote(self._name, left)


def _open_store() -> Store | None:
    """Return the ledger of this machine, where it can be written."""
    try:
        return Store(default_path())
    except StoreError:
        return None
