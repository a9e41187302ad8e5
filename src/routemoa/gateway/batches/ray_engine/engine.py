"""Answers the rows of a job on a Ray cluster: the driver's side.

Workers that are lost are started again by Ray; meanwhile the others get their rows. The results are written by this
process alone, so that each row has exactly one; where this process is lost, the job goes on as any other does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from math import ceil
from typing import Any

from routemoa.core.errors import BudgetExceeded, RouteMoAError
from routemoa.core.pool_file.pool import Pool
from routemoa.datasets.input_rows import InputFiles, InputRow
from routemoa.gateway.batches.jobs.job import pending_rows
from routemoa.gateway.batches.jobs.journal import Spending
from routemoa.gateway.batches.jobs.results import ResultStore
from routemoa.gateway.batches.jobs.run_job import JobOptions
from routemoa.gateway.batches.ray_engine.keeper import Keeper
from routemoa.gateway.batches.ray_engine.row_supply import RowSupply
from routemoa.gateway.batches.ray_engine.worker import PARTS, RowWorker, WorkerSettings, encode_rows, read_ended

__all__ = ["ROWS_PER_WORKER", "run_on_ray"]

KEEPER = "routemoa-batch-keeper"
ROWS_PER_WORKER = 32
"""That a worker answers at the same time."""
MAX_ROWS_AHEAD = 64
"""That a worker has beside those, so that it need not wait for the driver: twice as many as ended at the last look."""
NO_ANSWERS = b"{}"
STOP_SECONDS = 10.0
"""For workers and keeper to write down what calls came to, where the job is stopped."""
START_SECONDS = 30.0
"""After which it is said that no worker has started."""
MAX_CONCURRENCY = 1000
"""Calls of an actor at the same time: more than there ever are."""


async def run_on_ray(
    ray: Any,
    pool: Pool,
    inputs: InputFiles,
    results: ResultStore,
    options: JobOptions,
    *,
    repeated: frozenset[int] = frozenset(),
    on_rows: Callable[[Spending], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Answer the rows of a job that have no result.

    Args:
        ray: the module, connected.
        pool: what rows may ask; the workers need its keys in their environment, and its scorer at the same path.
        inputs: what to answer.
        results: takes the results, in the job's folder.
        options: how the job runs; `concurrency` is of all workers together.
        repeated: numbers of rows that repeat an id.
        on_rows: called after some rows have got their results, with what the job has spent.
        say: called with a line where the cluster has no place for a worker.

    Raises:
        BudgetExceeded: the job's budget is reached; the rows under way went on to their ends.
        RecordsError: a result cannot be written.
        RouteMoAError: the cluster is lost.
    """
    try:
        await _RayJob(ray, pool, results, options, repeated=repeated, on_rows=on_rows, say=say).run(inputs)
    except ray.exceptions.RayTaskError as e:
        raise _find_cause(e) from e
    except ray.exceptions.RayError as e:
        reason = next(iter(str(e).splitlines()), type(e).__name__)[:200]
        raise RouteMoAError(f"the Ray cluster is lost: {reason}") from e


class _RayJob:
    def __init__(
        self,
        ray: Any,
        pool: Pool,
        results: ResultStore,
        options: JobOptions,
        *,
        repeated: frozenset[int],
        on_rows: Callable[[Spending], None],
        say: Callable[[str], None],
    ) -> None:
        self._ray, self._results, self._options = ray, results, options
        self._repeated, self._on_rows, self._say = repeated, on_rows, say
        cpus = int(ray.cluster_resources().get("CPU", 1))
        self._count = max(1, min(cpus, options.concurrency))
        self._rows_at_a_time = ceil(options.concurrency / self._count)
        self._settings = WorkerSettings(pool, options, self._rows_at_a_time)
        self._workers: dict[int, Any] = {}
        """Those that have started."""
        self._paid: set[int] = set()
        """Rows that the keeper may have answers of."""
        self._untold: list[int] = []
        """Rows whose results are on disk, which no worker can tell the keeper any more."""
        self._exceeded: str | None = None

    async def run(self, inputs: InputFiles) -> None:
        """Start the actors, answer all rows, and close the journal."""
        name = f"{KEEPER}-{self._results.folder.resolve()}"
        self._keeper = self._start_keeper(name)
        await self._keeper.start.remote()
        self._paid |= set(await self._keeper.find_paid.remote())
        make = self._ray.remote(num_cpus=1, max_restarts=-1, max_concurrency=MAX_CONCURRENCY)(RowWorker)
        self._rows = RowSupply(pending_rows(inputs, self._results.has))
        workers = [make.remote(slot, name, self._settings) for slot in range(self._count)]
        tasks = [asyncio.create_task(self._serve(slot, worker)) for slot, worker in enumerate(workers)]
        tasks.append(asyncio.create_task(self._report_missing_workers()))
        try:
            await self._wait(tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._stop()
        if self._exceeded is not None:
            raise BudgetExceeded(self._exceeded)

    async def _wait(self, tasks: list[asyncio.Task[None]]) -> None:
        """Wait until all rows have their results, whether all workers have started or not."""
        over = asyncio.create_task(self._rows.over.wait())
        try:
            while not over.done():
                await asyncio.wait({over, *tasks}, return_when=asyncio.FIRST_COMPLETED)
                for task in [t for t in tasks if t.done()]:
                    task.result()
                    tasks.remove(task)
        finally:
            over.cancel()

    async def _serve(self, slot: int, worker: Any) -> None:
        """Keep a worker busy, and begin again with the one that Ray starts where it is lost."""
        while True:
            name: str = await worker.start.options(max_task_retries=-1).remote()  # waits until it has started
            self._workers[slot] = worker
            rows: dict[int, InputRow] = {}
            written: list[int] = []
            try:
                await self._feed(worker, rows, written)
                return
            except self._ray.exceptions.RayTaskError:
                raise
            except self._ray.exceptions.RayError:
                del self._workers[slot]
                self._paid |= rows.keys()
                await self._rows.put_back(rows.values())
                await self._keeper.forfeit.remote(name)
            finally:
                self._untold += written

    async def _feed(self, worker: Any, rows: dict[int, InputRow], written: list[int]) -> None:
        """Hand rows to a worker and write what it returns, until none is left.

        Args:
            worker: the actor.
            rows: that it has.
            written: rows whose results it has returned, until it is told that they are on disk.
        """
        exchange = worker.exchange.options(num_returns=PARTS)
        while True:
            ahead = min(max(self._rows_at_a_time // 4, 2 * len(written)), MAX_ROWS_AHEAD)
            most = self._rows_at_a_time + ahead
            further = await self._rows.take(most - len(rows), may_wait=not rows)
            rows |= {row.number: row for row in further}
            if not rows:
                return
            numbers = {row.number for row in further}
            paid = await self._find_answers(numbers)
            repeated = self._repeated & numbers
            parts = exchange.remote(encode_rows(further), repeated, written, paid)
            ended = read_ended(await asyncio.gather(*parts))
            lines = [line for line in ended.lines if line[0] in rows]  # else another worker has the row by now
            for number, line, is_failure in lines:
                self._results.write_line(number, line, is_failure=is_failure)
            self._on_rows(ended.spending)
            written[:] = [number for number, _, _ in lines]
            gone = rows.keys() & {*written, *ended.unanswered}
            for number in gone:
                del rows[number]
            if ended.exceeded is not None:
                self._exceeded = ended.exceeded
                await self._rows.stop()
            await self._rows.finish(len(gone))

    async def _find_answers(self, rows: set[int]) -> bytes:
        """Return what rows have paid for before they were handed to a worker that was lost."""
        if not (paid := self._paid & rows):
            return NO_ANSWERS
        answers: bytes = await self._keeper.find_answers.remote(list(paid))
        return answers

    async def _stop(self) -> None:
        """Let the workers cancel what is under way, and the keeper write down what all has cost."""
        with suppress(TimeoutError, self._ray.exceptions.RayActorError):
            async with asyncio.timeout(STOP_SECONDS):
                stopping = (worker.stop.remote() for worker in self._workers.values())
                await asyncio.gather(*stopping, return_exceptions=True)
                self._on_rows(await self._keeper.close.remote(self._untold))

    async def _report_missing_workers(self) -> None:
        await asyncio.sleep(START_SECONDS)
        if not self._workers:
            self._say("no worker has started yet: the cluster has no free CPU, or its nodes lack RouteMoA")
        await asyncio.Event().wait()

    def _start_keeper(self, name: str) -> Any:
        """Start the keeper on this machine, where the folder is."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(self._ray.get_runtime_context().get_node_id(), soft=False)
        make = self._ray.remote(
            num_cpus=0, max_restarts=-1, max_task_retries=-1, max_concurrency=MAX_CONCURRENCY, scheduling_strategy=here
        )(Keeper)
        results = self._results
        return make.options(name=name).remote(str(results.folder.resolve()), results.done, self._options)


def _find_cause(error: BaseException) -> BaseException:
    """Return what an actor raised."""
    while isinstance(cause := getattr(error, "cause", None), BaseException):
        error = cause
    return error
