"""Replay methods in random pools of several sizes. Random, since a chosen pool would favour the method it suits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

from msgspec import Struct

from routemoa.core.system.task_engine import LocalEngine, TaskEngine
from routemoa.evaluation.outcomes import Outcome
from routemoa.evaluation.replay.methods import Replay
from routemoa.evaluation.statistics import summarize

__all__ = ["sample_pool", "simulate_sizes", "summarize_sizes"]

POINT_MEASURES = ("accuracy", "ci95", "calls", "tokens", "path_tokens", "cost")


def sample_pool(members: Iterable[str], size: int, seed: int) -> tuple[str, ...]:
    """Return `size` random members. For one seed, a larger pool contains the smaller ones."""
    names = list(members)
    return tuple(Random(f"{seed}:pool").sample(names, len(names))[:size])  # noqa: S311  (no secret)


class SizeJob(Struct, frozen=True):
    """The replay of one random pool."""

    methods: Sequence[str]
    size: int
    seed: int
    seeds: int


def simulate_sizes(
    replay: Replay,
    methods: Iterable[str],
    sizes: Iterable[int],
    seed: int,
    seeds: int,
    *,
    engine: TaskEngine = LocalEngine(),  # noqa: B008  (it holds nothing)
) -> dict[str, Any]:
    """Return {method: [a point for each size]}, each the mean over one random pool for each seed.

    A size beyond the pool is the whole pool. A method of one named model (single:NAME) has no points.
    """
    names = [m for m in methods if not m.startswith("single:")]
    jobs: list[SizeJob] = []
    for size in sorted({min(max(size, 1), len(replay.members)) for size in sizes}):
        is_whole_pool = size == len(replay.members)
        numbers = [seed] if is_whole_pool else range(seed, seed + seeds)
        jobs += [SizeJob(names, size, number, seeds if is_whole_pool else 1) for number in numbers]
    by_size: dict[int, list[Outcome]] = {}
    for job, outcomes in zip(jobs, engine.map(_run_pool, replay, jobs), strict=True):
        by_size.setdefault(job.size, []).extend(outcomes)
    return summarize_sizes(by_size, seed)


def _run_pool(replay: Replay, job: SizeJob) -> list[Outcome]:
    """Return the outcomes in one random pool: what an engine works on."""
    pool = replay.restrict_to(sample_pool(replay.members, job.size, job.seed))
    return pool.run(job.methods, job.seed, job.seeds)


def summarize_sizes(by_size: dict[int, list[Outcome]], seed: int) -> dict[str, Any]:
    """Return {method: [{"models": size, "accuracy", "ci95", ...}]} from the outcomes of each pool size."""
    points: dict[str, Any] = {}
    for size, outcomes in by_size.items():
        for name, summary in summarize(outcomes, seed)["methods"].items():
            point = {"models": size, **{key: summary[key] for key in POINT_MEASURES}, "seconds": summary["latency"]}
            points.setdefault(name, []).append(point)
    return points
