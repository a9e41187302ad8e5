"""From outcomes to figures: means with bootstrap intervals, differences and savings on the same questions.

Questions are resampled, each at its mean over the seeds it was asked with; methods are compared on the questions that
both have. An answer that could not be graded is left out, a failure counts as wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from routemoa.evaluation.outcomes import Outcome

__all__ = ["SUMMARY_MEASURES", "compute_savings", "summarize"]

RESAMPLES = 2000
SUMMARY_MEASURES = ("calls", "tokens", "cost", "latency", "prompt_tokens", "completion_tokens", "path_tokens")
SAVING_MEASURES = ("calls", "tokens", "path_tokens", "cost", "latency")
Key = tuple[str, str]
"""A question: its task and its id."""
Floats = NDArray[np.float64]


class QuestionMeans:
    """What a method made of its questions: for each, the mean over the seeds, in the order of the keys."""

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        by: dict[Key, list[Outcome]] = {}
        for o in outcomes:
            by.setdefault((o.task, o.id), []).append(o)
        self.keys = tuple(sorted(by))
        self.place = {key: i for i, key in enumerate(self.keys)}
        groups = [by[key] for key in self.keys]
        self.right = np.array([_mean([o.right for o in group]) for group in groups], np.float64)
        self.failed = sum(sum(o.failure is not None for o in group) / len(group) for group in groups)
        self.figures = {
            name: [_mean([_figure(o, name) for o in group]) for group in groups] for name in SUMMARY_MEASURES
        }

    def on(self, keys: Sequence[Key]) -> Floats:
        """How right it was on these questions."""
        found: Floats = self.right[[self.place[key] for key in keys]]
        return found


def summarize(outcomes: Iterable[Outcome], seed: int) -> dict[str, Any]:
    """{"methods": ..., "paired": ...} of outcomes of any kind, live or replayed, in whatever order they come.

    A mean of dollars, seconds or tokens is null when it is unknown for any question; `failed` counts questions (a
    fraction where only some seeds failed). `p` is two-sided: twice the share of resamples in which the difference has
    the other sign, at least 1 / RESAMPLES.
    """
    tallies = _tallies(outcomes)
    drawn: dict[tuple[Key, ...], Floats] = {}

    def means(keys: tuple[Key, ...], names: Sequence[str]) -> Floats:
        return _resampled(np.array([tallies[name].on(keys) for name in names]).T, seed)

    column: dict[str, int] = {}
    for keys in dict.fromkeys(t.keys for t in tallies.values()):
        alike = [name for name, t in tallies.items() if t.keys == keys]
        column |= {name: i for i, name in enumerate(alike)}
        drawn[keys] = means(keys, alike)
    methods = {
        name: {
            "accuracy": _round(t.right.mean()) if t.keys else None,
            "ci95": _interval(drawn[t.keys][:, column[name]]) if t.keys else [None, None],
            **{key: _round(_mean(t.figures[key])) for key in SUMMARY_MEASURES},
            "failed": _round(t.failed),
            "n": len(t.keys),
        }
        for name, t in tallies.items()
    }
    paired: dict[str, Any] = {}
    for a, b in combinations(tallies, 2):
        keys = tallies[a].keys
        if keys == tallies[b].keys:
            gap = drawn[keys][:, column[a]] - drawn[keys][:, column[b]] if keys else np.zeros(0)
        elif keys := tuple(key for key in keys if key in tallies[b].place):
            both = means(keys, (a, b))
            gap = both[:, 0] - both[:, 1]
        if keys:
            against = min(float((gap <= 0).mean()), float((gap >= 0).mean()))
            paired[f"{a}|{b}"] = {
                "difference": _round((tallies[a].on(keys) - tallies[b].on(keys)).mean()),
                "ci95": _interval(gap),
                "p": _round(min(1.0, max(2 * against, 1 / RESAMPLES))),
                "n": len(keys),
            }
    return {"methods": methods, "paired": paired}


def compute_savings(outcomes: Iterable[Outcome], method: str, baseline: str, seed: int) -> dict[str, Any]:
    """The share in [0, 1] of a rival's calls, tokens, path, dollars and seconds that a method saves on the same
    questions: {figure: {"saved", "ci95"}}; a figure that is unknown for any question is absent."""
    tallies = _tallies(o for o in outcomes if o.method in (method, baseline))
    if len(tallies) < 2:
        return {}
    mine, other = tallies[method], tallies[baseline]
    keys = [key for key in mine.keys if key in other.place]
    out: dict[str, Any] = {}
    for name in SAVING_MEASURES:
        rows = [[t.figures[name][t.place[key]] for t in (mine, other)] for key in keys]
        if not rows or any(x is None for row in rows for x in row):
            continue
        pairs = np.array(rows, np.float64)
        total = pairs.mean(axis=0)
        if total[1] > 0:
            drawn = _resampled(pairs, seed)
            out[name] = {"saved": _round(1 - total[0] / total[1]), "ci95": _interval(1 - drawn[:, 0] / drawn[:, 1])}
    return out


def _tallies(outcomes: Iterable[Outcome]) -> Mapping[str, QuestionMeans]:
    """A tally for each method, in the order in which they are first met."""
    by: dict[str, list[Outcome]] = {}
    for o in outcomes:
        graded = by.setdefault(o.method, [])
        if o.failure is not None or o.right is not None:
            graded.append(o if o.failure is None else replace(o, right=0.0))
    return {name: QuestionMeans(graded) for name, graded in by.items()}


def _figure(o: Outcome, name: str) -> float | None:
    value: float | None = getattr(o, "seconds" if name == "latency" else name)
    return value


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _resampled(columns: Floats, seed: int) -> Floats:
    """RESAMPLES means of each column, over rows drawn with replacement; the draws depend on seed and row count only."""
    count = len(columns)
    rng = np.random.default_rng(seed)
    out = np.empty((RESAMPLES, columns.shape[1]))
    if count:
        for i in range(RESAMPLES):
            out[i] = np.bincount(rng.integers(0, count, count), minlength=count) @ columns / count
    return out


def _interval(means: Floats) -> list[float | None]:
    return [_round(np.quantile(means, 0.025)), _round(np.quantile(means, 0.975))]


def _round(value: Any) -> float | None:
    """To twelve digits: the last ones depend on the machine."""
    return None if value is None else float(f"{float(value):.12g}")
