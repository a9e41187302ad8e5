"""The table of all methods: means with intervals, and differences between methods on the questions that both have."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from routemoa.evaluation.outcomes import Outcome

__all__ = [
    "GROUPS",
    "MEASURES",
    "METHOD_DESCRIPTIONS",
    "AccuracyGap",
    "GroupedOutcomes",
    "MethodOutcomes",
    "MethodRow",
    "QuestionOutcomes",
    "build_rows",
    "group_outcomes",
    "mean_measure",
    "mean_score",
    "pareto_front",
]

MEASURES = {
    "calls": "calls",
    "tokens": "tokens",
    "completion_tokens": "output tokens",
    "path_tokens": "tokens on the critical path",
    "cost": "dollars",
    "seconds": "seconds",
}
"""Measure -> its label."""
GROUPS = {
    "mixture": "The mixture",
    "baseline": "Baselines",
    "single": "Single models",
    "ablation": "Ablations: the mixture without one part",
    "bound": "Upper bound",
}
"""Group of methods -> its label, in the order of the table."""
METHOD_DESCRIPTIONS = {
    "routemoa": "calls the models likely to answer well, and stops when confident",
    "moa": "dense mixture: every model in every layer",
    "smoa": "sparse mixture: every model, the best answers kept",
    "best-single": "the most accurate model on other questions",
    "fixed-best-3": "always the same three models, majority vote",
    "vote-all": "every model once, majority vote",
    "random": "random models, as many calls",
    "shuffled": "the mixture's panels, given to other questions",
    "cascade": "cheap models first, more expensive ones when unsure",
    "self-moa": "several answers of one model",
    "oracle": "chooses with the scores known: an upper bound",
}
Group = Literal["mixture", "baseline", "single", "ablation", "bound"]
QuestionOutcomes = tuple[Outcome, ...]
"""One method's outcomes on one question, one for each seed."""
MethodOutcomes = Mapping[tuple[str, str], QuestionOutcomes]
"""Task and id of a question -> one method's outcomes."""


class GroupedOutcomes(dict[str, dict[tuple[str, str], QuestionOutcomes]]):
    """Method -> task and id of a question -> its outcomes."""

    def ratios(self, method: str, baseline: str) -> dict[str, float | None]:
        """Return {measure: spending of a method / spending of a baseline} on the questions of both; None is unknown."""
        shared = [question for question in self[method] if question in self[baseline]]
        ratios: dict[str, float | None] = {}
        for measure in MEASURES:
            ours = _sum(mean_measure(self[method][question], measure) for question in shared)
            theirs = _sum(mean_measure(self[baseline][question], measure) for question in shared)
            ratios[measure] = ours / theirs if ours is not None and theirs else None
        return ratios


class AccuracyGap(Struct, frozen=True):
    """A difference in accuracy on the same `n` questions, with its 95 % interval."""

    difference: float
    low: float
    high: float
    n: int | None = None
    p: float | None = None

    @property
    def is_significant(self) -> bool:
        """Return whether the interval excludes zero."""
        return self.low > 0 or self.high < 0

    @classmethod
    def between(cls, figures: Mapping[str, Any], a: str, b: str) -> AccuracyGap | None:
        """Return the accuracy of `a` minus that of `b`, from the pairs of a summary; None where it has no such pair."""
        paired = figures.get("paired", {})
        for sign, pair in ((1, paired.get(f"{a}|{b}")), (-1, paired.get(f"{b}|{a}"))):
            if pair and pair.get("difference") is not None and pair["ci95"][0] is not None:
                low, high = sorted(sign * bound for bound in pair["ci95"])
                return cls(sign * pair["difference"], low, high, pair.get("n"), pair.get("p"))
        return None


class MethodRow(Struct, frozen=True, rename={"dense_ratios": "dense", "intervals": "spread"}):
    """The results of one method."""

    method: str
    group: Group
    n: int
    """Questions."""
    failed: int
    """Outcomes without an answer."""
    ungraded: int
    """Outcomes whose answer could not be graded."""
    accuracy: float | None
    ci95: tuple[float, float] | None
    means: dict[str, float | None]
    """Measure -> mean per question; None where it is unknown for any question."""
    intervals: dict[str, tuple[float, float]]
    """Measure -> 95 % interval of its mean."""
    unknown: dict[str, int]
    """Measure -> number of outcomes that lack it."""
    gap: AccuracyGap | None = None
    """To the best single model."""
    dense_ratios: dict[str, float | None] = {}
    """Measure -> spending over the dense mixture's, on the questions of both."""


def group_outcomes(outcomes: Iterable[Outcome]) -> GroupedOutcomes:
    """Group outcomes by method and question."""
    grouped = GroupedOutcomes()
    for outcome in outcomes:
        questions = grouped.setdefault(outcome.method, {})
        key = (outcome.task, outcome.id)
        questions[key] = (*questions.get(key, ()), outcome)
    return grouped


def build_rows(
    methods: Sequence[str], grouped: GroupedOutcomes, figures: Mapping[str, Any], baseline: str | None, dense: str
) -> tuple[MethodRow, ...]:
    """Build a row for each method, sorted by group.

    Args:
        methods: in the order of the rows of a group.
        grouped: their outcomes.
        figures: the summary of the same outcomes.
        baseline: the method that stands for the best single model.
        dense: the dense mixture.
    """
    rows = [_build_row(method, grouped, figures, baseline, dense) for method in methods]
    return tuple(sorted(rows, key=lambda row: list(GROUPS).index(row.group)))


def _build_row(
    method: str, grouped: GroupedOutcomes, figures: Mapping[str, Any], baseline: str | None, dense: str
) -> MethodRow:
    questions = grouped[method]
    values = {m: _all_known([mean_measure(outcomes, m) for outcomes in questions.values()]) for m in MEASURES}
    outcomes = [outcome for question in questions.values() for outcome in question]
    summary = figures.get("methods", {}).get(method, {})
    low, high = summary.get("ci95") or (None, None)
    return MethodRow(
        method=method,
        group=_group(method),
        n=len(questions),
        failed=sum(o.failure is not None for o in outcomes),
        ungraded=sum(o.right is None for o in outcomes),
        accuracy=summary.get("accuracy"),
        ci95=None if low is None or high is None else (float(low), float(high)),
        means={m: sum(v) / len(v) if v else None for m, v in values.items()},
        intervals={m: _normal_interval(v) for m, v in values.items() if v and len(v) > 1},
        unknown={m: n for m in MEASURES if (n := sum(_measure(o, m) is None for o in outcomes))},
        gap=AccuracyGap.between(figures, method, baseline) if baseline and method != baseline else None,
        dense_ratios=grouped.ratios(method, dense) if dense in grouped else dict.fromkeys(MEASURES),
    )


def _group(method: str) -> Group:
    if method == "routemoa":
        return "mixture"
    if method.startswith("routemoa-no-"):
        return "ablation"
    return "single" if method.startswith("single:") else "bound" if method == "oracle" else "baseline"


def _measure(outcome: Outcome, measure: str) -> float | None:
    value: float | None = getattr(outcome, measure)
    return value


def mean_measure(outcomes: QuestionOutcomes, measure: str) -> float | None:
    """Return a question's mean over the seeds; None where it is unknown for one of them."""
    total = _sum(_measure(o, measure) for o in outcomes)
    return None if total is None else total / len(outcomes)


def mean_score(outcomes: QuestionOutcomes) -> float | None:
    """Return a question's mean score over the seeds that could be graded; None where none could."""
    known = [o.right for o in outcomes if o.right is not None]
    return sum(known) / len(known) if known else None


def _sum(values: Iterable[float | None]) -> float | None:
    total = 0.0
    for value in values:
        if value is None:
            return None
        total += value
    return total


def _all_known(values: Sequence[float | None]) -> list[float] | None:
    """Return the values, or None where one is unknown."""
    return None if None in values else [v for v in values if v is not None]


def _normal_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of a mean by the normal approximation, not below zero."""
    mean = sum(values) / len(values)
    error = 1.96 * math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))
    return max(0.0, mean - error), mean + error


def pareto_front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Return the names of name -> (spending, accuracy) that no other point beats, cheapest first."""
    front: list[str] = []
    best = -math.inf
    for name, (_, accuracy) in sorted(points.items(), key=lambda item: (item[1][0], -item[1][1])):
        if accuracy > best:
            front.append(name)
            best = accuracy
    return front
