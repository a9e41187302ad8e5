"""What a method is worth in pools of different sizes: random ones, for a chosen pool would flatter whom it suits."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any

from routemoa.evaluation.outcomes import Outcome
from routemoa.evaluation.replay.simulator import Replay
from routemoa.evaluation.statistics import summarize

__all__ = ["sample_pool", "simulate_sizes", "summarize_sizes"]

KEPT = ("accuracy", "ci95", "calls", "tokens", "path_tokens", "cost")


def sample_pool(members: Iterable[str], size: int, seed: int) -> tuple[str, ...]:
    """So many members at random. The pools of one seed lie in each other: a larger one only adds."""
    names = list(members)
    return tuple(Random(f"{seed}:pool").sample(names, len(names))[:size])  # noqa: S311  (no secret)


def simulate_sizes(
    replay: Replay, methods: Iterable[str], sizes: Iterable[int], seed: int, seeds: int
) -> dict[str, Any]:
    """{method: [a point for each size]}: the mean over a random pool for each seed; sizes beyond the pool are its own.

    A method that names one model (single:NAME) has no pool and no points.
    """
    names = [m for m in methods if not m.startswith("single:")]
    by_size: dict[int, list[Outcome]] = {}
    for size in sorted({min(max(size, 1), len(replay.members)) for size in sizes}):
        whole = size == len(replay.members)
        found: list[Outcome] = []
        for number in range(seed, seed + (1 if whole else seeds)):
            found += replay.restrict_to(sample_pool(replay.members, size, number)).run(
                names, number, seeds if whole else 1
            )
        by_size[size] = found
    return summarize_sizes(by_size, seed)


def summarize_sizes(by_size: dict[int, list[Outcome]], seed: int) -> dict[str, Any]:
    """{method: [{"models": size, "accuracy", "ci95", ...}]} of outcomes of pools."""
    out: dict[str, Any] = {}
    for size, found in by_size.items():
        for name, f in summarize(found, seed)["methods"].items():
            point = {"models": size, **{key: f[key] for key in KEPT}, "seconds": f["latency"]}
            out.setdefault(name, []).append(point)
    return out
