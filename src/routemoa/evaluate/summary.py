"""From outcomes to figures: means with bootstrap intervals, and differences between methods on the same questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routemoa.evaluate.replayed import Outcome

__all__ = ["summarise"]

RESAMPLES = 2000
Runs = Sequence[Mapping[str, Sequence[Outcome]]]
"""One run for each seed: method -> an outcome for each question, in the same order everywhere."""


def summarise(runs: Runs, seed: int) -> dict[str, Any]:
    """{"methods": ..., "paired": ...}; questions are resampled, each at its mean over the runs.

    A mean of dollars, seconds or tokens is null when it is unknown for any question. `p` is two-sided: twice the share
    of resamples in which the difference has the other sign, at least 1 / RESAMPLES.
    """
    names = list(runs[0])
    right = {name: np.mean([[o.right for o in run[name]] for run in runs], axis=0) for name in names}
    count = len(right[names[0]])
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, count, (RESAMPLES, count))
    means = {name: right[name][draws].mean(axis=1) for name in names}
    methods = {
        name: {
            "accuracy": _round(right[name].mean()),
            "ci95": _interval(means[name]),
            **{key: _mean(runs, name, key) for key in ("calls", "tokens", "cost", "latency")},
            "n": count,
        }
        for name in names
    }
    paired: dict[str, Any] = {}
    for a, b in combinations(names, 2):
        gap = means[a] - means[b]
        against = min(float((gap <= 0).mean()), float((gap >= 0).mean()))
        paired[f"{a}|{b}"] = {
            "difference": _round(right[a].mean() - right[b].mean()),
            "ci95": _interval(gap),
            "p": _round(min(1.0, max(2 * against, 1 / RESAMPLES))),
        }
    return {"methods": methods, "paired": paired}


def _mean(runs: Runs, name: str, key: str) -> float | None:
    values = [getattr(o, key) for run in runs for o in run[name]]
    return None if None in values else _round(sum(values) / len(values))


def _interval(means: NDArray[Any]) -> list[float]:
    return [_round(np.quantile(means, 0.025)), _round(np.quantile(means, 0.975))]


def _round(value: Any) -> float:
    """To twelve digits: the last ones depend on the machine."""
    return float(f"{float(value):.12g}")
