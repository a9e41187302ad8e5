"""The table of all methods: means with intervals, and what two methods differ by on the questions of both."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from routemoa.evaluation.outcomes import Outcome

__all__ = [
    "GROUPS",
    "MEASURES",
    "METHOD_DESCRIPTIONS",
    "AccuracyGap",
    "Cases",
    "Row",
    "build_rows",
    "group_outcomes",
    "mean_measure",
    "mean_score",
    "pareto_front",
]

MEASURES = {
    "calls": "calls",
    "tokens": "tokens",
    "completion_tokens": "tokens written",
    "path_tokens": "tokens on the critical path",
    "cost": "dollars",
    "seconds": "seconds",
}
GROUPS = {
    "mixture": "The mixture",
    "baseline": "Beside it",
    "single": "One model alone",
    "ablation": "The mixture without one of its parts",
    "bound": "Out of reach",
}
METHOD_DESCRIPTIONS = {
    "routemoa": "calls who is likely to do well, and stops when sure",
    "moa": "dense mixture: every model in every layer",
    "smoa": "sparse mixture: every model, the best answers kept",
    "best-single": "the one model that did best on other questions",
    "fixed-best-3": "always the same three models, majority",
    "vote-all": "every model once, majority",
    "random": "random models, as many calls",
    "shuffled": "the mixture's panels, given to other questions",
    "cascade": "cheap models first, dearer ones when unsure",
    "self-moa": "several answers of one model",
    "oracle": "picks knowing the answers: nobody can",
}
Group = Literal["mixture", "baseline", "single", "ablation", "bound"]
Case = tuple[Outcome, ...]
"""What one method made of one question, an outcome for each seed."""


class Cases(dict[str, dict[tuple[str, str], Case]]):
    """Method -> task and id of a question -> its outcomes."""

    def ratios(self, ours: str, theirs: str) -> dict[str, float | None]:
        """What one method spent over what another did, on the questions of both; None is unknown."""
        shared = [key for key in self[ours] if key in self[theirs]]
        found: dict[str, float | None] = {}
        for measure in MEASURES:
            a = _sum(mean_measure(self[ours][key], measure) for key in shared)
            b = _sum(mean_measure(self[theirs][key], measure) for key in shared)
            found[measure] = a / b if a is not None and b else None
        return found


class AccuracyGap(Struct, frozen=True):
    """A difference in accuracy on the same `n` questions, with its 95 % interval."""

    difference: float
    low: float
    high: float
    n: int | None = None
    p: float | None = None

    @classmethod
    def between(cls, figures: Mapping[str, Any], a: str, b: str) -> AccuracyGap | None:
        """How much more often `a` is right than `b`, from the pairs of a summary."""
        paired = figures.get("paired", {})
        for sign, given in ((1, paired.get(f"{a}|{b}")), (-1, paired.get(f"{b}|{a}"))):
            if given and given.get("difference") is not None and given["ci95"][0] is not None:
                low, high = sorted(sign * bound for bound in given["ci95"])
                return cls(sign * given["difference"], low, high, given.get("n"), given.get("p"))
        return None


class Row(Struct, frozen=True, rename={"dense_ratios": "dense", "intervals": "spread"}):
    """One method, and its `means` for a question: each of MEASURES, None where it is unknown for any.

    `spread` holds the 95 % intervals of means, `unknown` how many outcomes lack a figure, `dense` what it spent over a
    dense mixture on the questions of both.
    """

    method: str
    group: Group
    n: int
    failed: int
    ungraded: int
    accuracy: float | None
    ci95: tuple[float, float] | None
    means: dict[str, float | None]
    intervals: dict[str, tuple[float, float]]
    unknown: dict[str, int]
    gap: AccuracyGap | None = None
    dense_ratios: dict[str, float | None] = {}


def group_outcomes(outcomes: Iterable[Outcome]) -> Cases:
    """The outcomes by method and question."""
    found = Cases()
    for o in outcomes:
        of = found.setdefault(o.method, {})
        of[o.task, o.id] = (*of.get((o.task, o.id), ()), o)
    return found


def build_rows(
    order: Sequence[str], found: Cases, figures: Mapping[str, Any], against: str | None, dense: str
) -> tuple[Row, ...]:
    """A row for each method; the groups in the order in which a reader wants them."""
    lines = [_row(name, found[name], figures.get("methods", {}).get(name, {})) for name in order]
    lines = [
        replace(
            line,
            gap=AccuracyGap.between(figures, line.method, against) if against and line.method != against else None,
            dense_ratios=found.ratios(line.method, dense) if dense in found else dict.fromkeys(MEASURES),
        )
        for line in lines
    ]
    return tuple(sorted(lines, key=lambda line: list(GROUPS).index(line.group)))


def _row(name: str, of: Mapping[tuple[str, str], Case], figures: Mapping[str, Any]) -> Row:
    means = {m: _known([mean_measure(case, m) for case in of.values()]) for m in MEASURES}
    every = [o for case in of.values() for o in case]
    low, high = figures.get("ci95") or (None, None)
    return Row(
        method=name,
        group=_group(name),
        n=len(of),
        failed=sum(o.failure is not None for o in every),
        ungraded=sum(o.right is None for o in every),
        accuracy=figures.get("accuracy"),
        ci95=None if low is None or high is None else (float(low), float(high)),
        means={m: sum(v) / len(v) if v else None for m, v in means.items()},
        intervals={m: _interval(v) for m, v in means.items() if v and len(v) > 1},
        unknown={m: n for m in MEASURES if (n := sum(_of(o, m) is None for o in every))},
    )


def _group(name: str) -> Group:
    if name == "routemoa":
        return "mixture"
    if name.startswith("routemoa-no-"):
        return "ablation"
    return "single" if name.startswith("single:") else "bound" if name == "oracle" else "baseline"


def _of(outcome: Outcome, measure: str) -> float | None:
    value: float | None = getattr(outcome, measure)
    return value


def mean_measure(case: Case, measure: str) -> float | None:
    """A question's mean over the seeds; unknown when it is unknown for one of them."""
    total = _sum(_of(o, measure) for o in case)
    return None if total is None else total / len(case)


def mean_score(case: Case) -> float | None:
    """How right a method was on a question, over the seeds that could be graded."""
    known = [o.right for o in case if o.right is not None]
    return sum(known) / len(known) if known else None


def _sum(values: Iterable[float | None]) -> float | None:
    total = 0.0
    for value in values:
        if value is None:
            return None
        total += value
    return total


def _known(values: Sequence[float | None]) -> list[float] | None:
    return None if None in values else [v for v in values if v is not None]


def _interval(values: Sequence[float]) -> tuple[float, float]:
    """Of a mean of questions, by the normal approximation; none of these figures is below zero."""
    middle = sum(values) / len(values)
    error = 1.96 * math.sqrt(sum((v - middle) ** 2 for v in values) / (len(values) - 1) / len(values))
    return max(0.0, middle - error), middle + error


def pareto_front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Of name -> (spent, accuracy), those that no other beats in one without losing in the other; cheapest first."""
    kept: list[str] = []
    best = -math.inf
    for name, (_, right) in sorted(points.items(), key=lambda p: (p[1][0], -p[1][1])):
        if right > best:
            kept.append(name)
            best = right
    return kept
