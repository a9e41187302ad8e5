"""Let the methods of a benchmark answer what is missing, with a progress bar: in this process, or on a Ray cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

from routemoa.cli.evaluation.bench_options import Benchmark
from routemoa.cli.evaluation.live_session import describe_spending, open_call_cache
from routemoa.cli.terminal.progress import AnswerProgress
from routemoa.evaluation.live.methods import build_live_methods
from routemoa.evaluation.live.runner import AnsweredUnit, LiveRun, WorkUnit, answer_question, run_units
from routemoa.evaluation.outcomes import Outcome

__all__ = ["answer_questions"]

EARLY_ANSWERS = 3  # graded ones of a method, up to which each failure is printed


def answer_questions(benchmark: Benchmark, units: Sequence[WorkUnit]) -> None:
    """Answer what is missing; show accuracy so far and dollars spent. Raises BudgetExceeded, RecordsError."""
    with AnswerProgress(len(units), "answering", "answers") as progress:
        if benchmark.engine == "local":
            asyncio.run(_answer_here(benchmark, units, progress))
            return
        from routemoa.cli.ray_cluster import connect_ray

        with connect_ray(benchmark.address) as ray:
            asyncio.run(_answer_on_ray(ray, benchmark, units, progress))


async def _answer_here(benchmark: Benchmark, units: Sequence[WorkUnit], progress: AnswerProgress) -> None:
    pool = benchmark.pool
    async with open_call_cache(pool, benchmark.folder, benchmark.max_cost, say=progress.print_line) as cache:
        methods = await build_live_methods(dict.fromkeys(u.method for u in units), pool, cache, benchmark.questions)
        live = LiveRun(methods, cache, benchmark.seed, benchmark.judge)
        await run_units(
            units,
            partial(answer_question, live=live),
            benchmark.folder,
            concurrency=benchmark.concurrency,
            on_outcome=lambda outcome: _show(outcome, progress, cache.account.spent, cache.unpriced),
        )


async def _answer_on_ray(ray: Any, benchmark: Benchmark, units: Sequence[WorkUnit], progress: AnswerProgress) -> None:
    from routemoa.cli.evaluation.bench_worker import BenchSettings, BenchWorker, CallKeeper, RunSpending
    from routemoa.cli.ray_workers import RayWorkers, count_workers

    count = count_workers(ray, benchmark.pool, min(len(units), benchmark.concurrency))
    settings = BenchSettings(
        benchmark.pool,
        benchmark.max_cost,
        "bench",
        tuple(dict.fromkeys(u.method for u in units)),
        benchmark.questions,
        benchmark.seed,
        benchmark.judge,
    )
    keeper = (CallKeeper, (str(benchmark.folder.resolve()), benchmark.max_cost))
    workers = RayWorkers(ray, keeper, BenchWorker, count, settings)
    spending: RunSpending

    async def answer(unit: WorkUnit) -> AnsweredUnit:
        nonlocal spending
        answered: AnsweredUnit = await workers.work(unit)
        spending = await workers.ask_keeper("sum_up")
        return answered

    try:
        spending = await workers.ask_keeper("open")
        await run_units(
            units,
            answer,
            benchmark.folder,
            concurrency=benchmark.concurrency,
            on_outcome=lambda outcome: _show(outcome, progress, *spending),
        )
    finally:
        await workers.close()


def _show(outcome: Outcome, progress: AnswerProgress, spent: float, unpriced: int) -> None:
    """Show one more outcome, and what the run has spent so far."""
    counts = progress.count(outcome.method, outcome.right, outcome.failure)
    if outcome.failure and counts.graded <= EARLY_ANSWERS:
        progress.print_line(f"{outcome.method}, {outcome.id}: {outcome.failure}")
    standings = [f"{method} {c.score:g}/{c.graded}" for method, c in progress.sources.items()]
    progress.advance(", ".join([*standings, describe_spending(spent, unpriced)]))
