"""Answers the rows of a job on a Ray cluster: workers that each hold one `RouteMoA`, and one keeper of what they spend.

Workers that are lost are started again by Ray, and so are the rows that they were answering. The results are written
by this process alone, so that each row has exactly one; where this process is lost, the job goes on as any other does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from itertools import islice
from math import ceil
from typing import Any

from routemoa.core.errors import BudgetExceeded
from routemoa.core.pool import Pool
from routemoa.datasets.collector import gather_or_cancel
from routemoa.datasets.input_rows import InputFiles, InputRow
from routemoa.gateway.batches.job import pending_rows
from routemoa.gateway.batches.journal import Spending
from routemoa.gateway.batches.ray_actors import ChunkResult, Keeper, RowWorker, WorkerSettings
from routemoa.gateway.batches.results import ResultStore
from routemoa.gateway.batches.run_job import JobOptions

__all__ = ["KEEPER", "ROWS_PER_WORKER", "run_on_ray"]

KEEPER = "routemoa-batch-keeper"
CHUNK_ROWS = 8
ROWS_PER_WORKER = 32
"""That a worker answers at the same time."""


async def run_on_ray(
    ray: Any,
    pool: Pool,
    inputs: InputFiles,
    results: ResultStore,
    options: JobOptions,
    *,
    repeated: frozenset[int] = frozenset(),
    on_row: Callable[[Spending], None] = lambda _: None,
) -> None:
    """Answer the rows of a job that have no result.

    Args:
        ray: the module, connected.
        pool: what rows may ask; the workers need its keys in their environment, and its scorer at the same path.
        inputs: what to answer.
        results: takes the results, in the job's folder.
        options: how the job runs; `concurrency` is of all workers together.
        repeated: numbers of rows that repeat an id.
        on_row: called after each row, with what the job has spent.

    Raises:
        BudgetExceeded: the job's budget is reached; the rows under way went on to their ends.
        RecordsError: a result cannot be written.
    """
    count = max(1, min(int(ray.cluster_resources().get("CPU", 1)), ceil(options.concurrency / CHUNK_ROWS)))
    name = f"{KEEPER}-{results.folder.resolve()}"
    keeper = _start_keeper(ray, name, results, options)
    settings = WorkerSettings(pool, options)
    make = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=-1, max_concurrency=ROWS_PER_WORKER)(RowWorker)
    workers = [make.remote(slot, name, settings) for slot in range(count)]
    rows = pending_rows(inputs, results.has)
    reading = asyncio.Lock()
    exceeded: list[str] = []

    async def take() -> list[InputRow]:
        async with reading:
            return [] if exceeded else await asyncio.to_thread(lambda: list(islice(rows, CHUNK_ROWS)))

    async def work(worker: Any) -> None:
        while chunk := await take():
            result: ChunkResult = await worker.answer.remote(
                chunk, [row.number for row in chunk if row.number in repeated]
            )
            for number, line, is_failure in result.lines:
                results.write_line(number, line, is_failure=is_failure)
            spending = await keeper.finish.remote([number for number, _, _ in result.lines])
            for _ in result.lines:
                on_row(spending)
            if result.exceeded is not None:
                exceeded.append(result.exceeded)

    await _work_with(workers, work, options.concurrency)
    on_end: Spending = await keeper.close.remote()
    on_row(on_end)
    if exceeded:
        raise BudgetExceeded(exceeded[0])


def _start_keeper(ray: Any, name: str, results: ResultStore, options: JobOptions) -> Any:
    """Start the keeper on this machine, where the folder is."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    make = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1, max_concurrency=1000, scheduling_strategy=here)(
        Keeper
    )
    return make.options(name=name).remote(str(results.folder.resolve()), results.done, options)


async def _work_with(workers: list[Any], work: Callable[[Any], Coroutine[Any, Any, None]], concurrency: int) -> None:
    """Keep each worker busy with several chunks; cancel all where one fails."""
    chunks = max(1, ceil(concurrency / len(workers) / CHUNK_ROWS))
    await gather_or_cancel([asyncio.create_task(work(worker)) for worker in workers for _ in range(chunks + 1)])
