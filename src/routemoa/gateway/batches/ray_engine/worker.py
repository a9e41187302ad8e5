"""A worker of a job on Ray, which answers rows with a `RouteMoA` of its own. A plain class; `engine` makes actors.

A worker that is lost is started again by Ray. The keeper then counts what the lost one may have spent, and gives the
answers that were paid for to whatever worker gets its rows.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from routemoa.clients.connect import connect
from routemoa.core.pool_file.pool import Pool
from routemoa.core.protocols import CallRecorder
from routemoa.core.system.garbage_collection import spare_garbage_collection
from routemoa.datasets.input_rows import InputRow
from routemoa.gateway.batches.jobs.answering import RowAnswerer
from routemoa.gateway.batches.jobs.job_client import JobClient
from routemoa.gateway.batches.jobs.journal import CallEnd, Spending
from routemoa.gateway.batches.jobs.pace import Pace
from routemoa.gateway.batches.jobs.run_job import JobOptions
from routemoa.gateway.batches.ray_engine.open_rows import EndedRow, OpenRows
from routemoa.gateway.batches.ray_engine.remote_journal import RemoteJournal
from routemoa.ledger import Store, StoreError, default_path
from routemoa.mixture.budget.leased_run import LeasedRun
from routemoa.mixture.budget.run_client import RunClient

__all__ = ["PARTS", "RowWorker", "RowsEnded", "WorkerSettings", "cut_ended", "encode_rows", "read_ended"]

PARTS = 4
"""That results come in: Ray sends up to 100 KB with its answer, what is larger goes through the stores of the nodes."""


class RowsEnded(Struct, frozen=True, array_like=True):
    """What became of rows since the last look."""

    lines: list[EndedRow]
    unanswered: list[int]
    """Rows that have no result, because of the job's budget."""
    exceeded: str | None
    """What the budget did not allow."""
    spending: Spending
    """Of the whole job so far."""


class WorkerSettings(Struct, frozen=True):
    """What all workers of a job share."""

    pool: Pool
    options: JobOptions
    rows: int
    """That one worker answers at the same time."""


def encode_rows(rows: Sequence[InputRow]) -> list[tuple[Any, ...]]:
    """Return rows as `exchange` takes them: Ray takes ten times as long for objects of classes."""
    return [msgspec.structs.astuple(row) for row in rows]


def cut_ended(ended: RowsEnded) -> tuple[bytes, ...]:
    """Return what `exchange` returns."""
    data = msgspec.msgpack.encode(ended)
    size = -(-len(data) // PARTS)
    return tuple(data[i * size : (i + 1) * size] for i in range(PARTS))


def read_ended(parts: Iterable[bytes]) -> RowsEnded:
    """Return what `exchange` returned."""
    return msgspec.msgpack.decode(b"".join(parts), type=RowsEnded)


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
        self._journal = RemoteJournal(self._keeper, self._name, ray.exceptions.RayActorError)
        self._run: RunClient
        self._rows: OpenRows | None = None
        self._repeated: set[int] = set()
        self._starting = asyncio.Lock()

    async def start(self) -> str:
        """Connect, take the place of the worker before this one, and return the name of this one."""
        await self._open()
        return self._name

    async def exchange(
        self, further: Sequence[tuple[Any, ...]], repeated: Collection[int], written: list[int], paid: bytes
    ) -> tuple[bytes, ...]:
        """Take further rows, wait until some rows have ended, and return them, for `read_ended`.

        Args:
            further: rows to be answered, beside those that were sent before, as `encode_rows` gives them.
            repeated: numbers of those that repeat an id.
            written: rows whose results are on disk since the last look.
            paid: answers to calls of further rows that a worker before this one paid for.

        Raises:
            RecordsError: the keeper cannot write down what calls cost.
        """
        rows = await self._open()
        self._repeated.update(repeated)
        self._journal.note_written(written)
        self._journal.ended |= msgspec.json.decode(paid, type=dict[int, list[CallEnd]])
        rows.add(InputRow(*fields) for fields in further)
        ended, unanswered = await rows.take_ended()
        if rows.is_empty:
            await self._give_back()
        elif not (isinstance(self._run, LeasedRun) and await self._run.refill()):
            await self._journal.flush()  # before the results are written: then the answers are not needed any more
        return cut_ended(RowsEnded(ended, unanswered, rows.exceeded, self._journal.spending))

    async def stop(self) -> None:
        """Cancel all rows, and tell the keeper what their calls came to."""
        if self._rows is not None:
            await self._rows.cancel()
            await self._give_back()

    async def _open(self) -> OpenRows:
        async with self._starting:
            if self._rows is None:
                await self._keeper.join.remote(self._slot, self._name)
                options = self._settings.options
                has_rates = options.calls_per_minute or options.tokens_per_minute
                wait = self._keeper.wait.remote if has_rates else None
                self._rows = OpenRows(self._settings.rows, self._connect().answer, wait, self._forget)
                spare_garbage_collection(collects=False)
        return self._rows

    def _forget(self, row: int) -> None:
        self._repeated.discard(row)
        self._journal.finish_row(row)

    def _connect(self) -> RowAnswerer:
        pool, options = self._settings.pool, self._settings.options
        client = connect(pool)
        self._run = RunClient(client) if options.max_cost is None else LeasedRun(client, self._journal.lease)
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

    async def _give_back(self) -> None:
        """Tell the keeper all, and give back what is left of the lease, while nothing is under way."""
        await self._journal.flush()
        if isinstance(self._run, LeasedRun) and not self._run.account.reserved:
            await self._keeper.give_back.remote(self._name, await self._run.give_back())


def _open_store() -> Store | None:
    """Return the ledger of this machine, where it can be written."""
    try:
        return Store(default_path())
    except StoreError:
        return None
