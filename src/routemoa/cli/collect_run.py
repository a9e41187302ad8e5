"""Make the calls that a collection lacks, with a progress bar: in this process, or on a Ray cluster."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from routemoa.cli.terminal.progress import AnswerProgress
from routemoa.cli.terminal.session import open_run_client
from routemoa.core.errors import BudgetExceeded
from routemoa.core.pool_file.pool import Pool
from routemoa.core.text.plural import counted
from routemoa.datasets.collection import AnswerCollection, CollectedAnswer
from routemoa.datasets.collector import CollectCall, ask_model, collect_answers

__all__ = ["CollectionRun", "Failures", "run_calls"]

WARN_AFTER = 5  # failures of one model in a row

Failures = dict[str, Counter[str]]
"""Model -> reason -> how often its calls failed for it."""
OnAnswer = Callable[[CollectedAnswer], None]


@dataclass(frozen=True)
class CollectionRun:
    """The calls that a collection lacks, and how to make them."""

    pool: Pool
    calls: Sequence[CollectCall]
    collection: AnswerCollection
    purpose: str
    """In the ledger."""
    concurrency: int
    """Calls at a time to one endpoint."""
    max_cost: float | None
    """Dollars, those of the answers that are there included."""
    engine: Literal["local", "ray"] = "local"
    address: str | None = None
    """Of the Ray cluster."""


def run_calls(run: CollectionRun) -> Failures:
    """Make the calls with a progress bar and return the failures; an interrupt keeps the answers so far.

    Raises:
        BudgetExceeded: the next call could pass `max_cost`.
    """
    calls = run.calls
    progress = AnswerProgress(len(calls), "asking", "calls")

    def show(answer: CollectedAnswer) -> None:
        counts = progress.count(answer.model, answer.score, answer.failure)
        if counts.failures_in_a_row == WARN_AFTER:
            progress.print_line(
                f"{answer.model}: {WARN_AFTER} calls in a row failed, the last with {answer.failure}; stop with Ctrl-C "
                "and correct it, or repeat the failed calls later with --retry"
            )
        progress.advance(f"{progress.failed:,} failed" if progress.failed else "")

    with progress:
        try:
            _make_calls(run, show)
        except (KeyboardInterrupt, BudgetExceeded) as e:
            how = " with a higher --max-cost" if isinstance(e, BudgetExceeded) else ""
            kept = f"{progress.done:,} of {counted(len(calls), 'call')} kept"
            progress.print_line(f"{kept}; run the same command again{how} to continue")
            raise
    return {model: counts.failures for model, counts in progress.sources.items() if counts.failures}


def _make_calls(run: CollectionRun, on_answer: OnAnswer) -> None:
    """Make the calls within the limit, and write them to the ledger."""
    if run.engine == "local" or not run.calls:
        asyncio.run(_make_calls_here(run, on_answer))
        return
    from routemoa.cli.ray_cluster import connect_ray

    with connect_ray(run.address) as ray:
        asyncio.run(_make_calls_on_ray(ray, run, on_answer))


async def _make_calls_here(run: CollectionRun, on_answer: OnAnswer) -> None:
    collection = run.collection
    async with open_run_client(
        run.pool,
        run.purpose,
        run.max_cost,
        spent=collection.spent,
        on_unknown_cost=collection.add_unknown_cost,
    ) as client:
        ask = partial(ask_model, client=client)
        await collect_answers(run.calls, ask, collection, concurrency=run.concurrency, on_answer=on_answer)


async def _make_calls_on_ray(ray: Any, run: CollectionRun, on_answer: OnAnswer) -> None:
    from routemoa.cli.collect_worker import AskedCall, CollectWorker, LostDollars
    from routemoa.cli.ray_workers import BudgetKeeper, RayWorkers, WorkerSettings, count_workers

    collection = run.collection
    settings = WorkerSettings(run.pool, run.max_cost, run.purpose)
    count = count_workers(ray, run.pool, len(run.calls))
    workers = RayWorkers(ray, (BudgetKeeper, (run.max_cost, collection.spent)), CollectWorker, count, settings)

    def keep(lost: LostDollars) -> None:
        for dollars in lost:
            collection.add_unknown_cost(dollars)

    async def ask(call: CollectCall) -> CollectedAnswer:
        asked: AskedCall = await workers.work(call)
        keep(asked.lost)
        if asked.charged:
            workers.keeper.record.remote(asked.worker, asked.charged)
        if asked.answer is None:
            raise BudgetExceeded(asked.exceeded)
        return asked.answer

    try:
        await collect_answers(run.calls, ask, collection, concurrency=run.concurrency, on_answer=on_answer)
    finally:
        for lost in await workers.close():
            keep(lost)
