"""How members do on traffic: by kind of question, by week, and whether one got worse this week. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import NormalDist
from typing import Literal

from msgspec import Struct

from routemoa.core.learned.intervals import wilson_interval
from routemoa.evaluation.traffic.judged_answer import JudgedAnswer

__all__ = [
    "WEEK",
    "MemberChange",
    "MemberRate",
    "compare_weeks",
    "find_shared_fall",
    "list_weekly_rates",
    "rate_members",
]

WEEK = 7 * 86_400.0
BEFORE_WEEKS = 4
"""This week is compared with as many before it."""
MIN_COMPARED = 10
"""Judged answers of a member in each of the two times, below which nothing is said of a change."""


class MemberRate(Struct, frozen=True):
    """How often a member was right."""

    model: str
    n: int
    """Judged answers of its own."""
    mean: float | None
    """Mean score, in [0, 1]; None without any."""
    low: float | None
    high: float | None
    """95 %, Wilson."""


class MemberChange(Struct, frozen=True):
    """A member in the last seven days, beside the four weeks before them."""

    model: str
    recent: MemberRate
    before: MemberRate
    change: float | None
    """Of the mean score beyond what was predicted: no change where questions are harder, as far as the priors know.
    None where one is empty."""
    low: float | None
    high: float | None
    """95 % for all members together (Bonferroni)."""
    verdict: Literal["worse", "better", "no change seen", "unknown"]


def rate_members(answers: Iterable[JudgedAnswer], members: Sequence[str]) -> list[MemberRate]:
    """Return how often each member's own answer was right."""
    scores: dict[str, list[float]] = {m: [] for m in members}
    for answer in answers:
        for model, score in answer.fair_scores.items():
            if score is not None and model in scores:
                scores[model].append(score)
    return [_rate(model, found) for model, found in scores.items()]


def list_weekly_rates(
    answers: Iterable[JudgedAnswer], members: Sequence[str], now: float
) -> list[tuple[float, list[MemberRate]]]:
    """Return (start, rates) of each week that has judged answers, the oldest first; the last one ends now."""
    weeks: dict[int, list[JudgedAnswer]] = {}
    for answer in answers:
        weeks.setdefault(math.floor((answer.at - now) / WEEK), []).append(answer)
    return [(now + number * WEEK, rate_members(weeks[number], members)) for number in sorted(weeks)]


def compare_weeks(answers: Sequence[JudgedAnswer], members: Sequence[str], now: float) -> list[MemberChange]:
    """Return how each member changed in the last seven days, the worst change first."""
    start = now - WEEK
    recent = [a for a in answers if a.at >= start]
    before = [a for a in answers if start - BEFORE_WEEKS * WEEK <= a.at < start]
    rates = zip(rate_members(recent, members), rate_members(before, members), strict=True)
    z = NormalDist().inv_cdf(1 - 0.025 / max(1, len(members)))
    changes = [_compare(now_, then, _residuals(recent, now_.model), _residuals(before, then.model), z)
               for now_, then in rates]  # fmt: skip
    order: Mapping[str, int] = {"worse": 0, "better": 1, "no change seen": 2, "unknown": 3}
    return sorted(changes, key=lambda c: (order[c.verdict], c.change or 0.0))


def find_shared_fall(changes: Sequence[MemberChange]) -> float | None:
    """Return by how much all members fell alike (below 0); None where they did not.

    Harder questions make each look worse, where the priors do not know of them: those of a pool file are the same for
    every question. One that fell alone is told apart: the others must have fallen without it, and all by amounts that
    Cochran's Q cannot tell from one another.
    """
    z = NormalDist().inv_cdf(1 - 0.025 / max(1, len(changes)))
    fell = sorted(
        (c.change, (2 * z / (c.high - c.low)) ** 2)
        for c in changes
        if c.verdict != "unknown" and c.change is not None and c.low is not None and c.high is not None
    )
    if len(fell) < 2 or fell[-1][0] >= 0:
        return None
    others, precision = _weigh(fell[1:])
    if others + NormalDist().inv_cdf(0.975) / math.sqrt(precision) >= 0:
        return None
    mean, _ = _weigh(fell)
    differ = sum(weight * (change - mean) ** 2 for change, weight in fell)
    return mean if differ < _chi_square_95(len(fell) - 1) else None


def _weigh(changes: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the mean of (change, weight) and the sum of the weights."""
    total = sum(weight for _, weight in changes)
    return sum(weight * change for change, weight in changes) / total, total


def _chi_square_95(freedom: int) -> float:
    """Return the 95th percentile of a chi-square distribution, by Wilson and Hilferty."""
    part = 2 / (9 * freedom)
    return float(freedom * (1 - part + NormalDist().inv_cdf(0.95) * math.sqrt(part)) ** 3)


def _compare(
    recent: MemberRate, before: MemberRate, now: Sequence[float], then: Sequence[float], z: float
) -> MemberChange:
    if not now or not then:
        return MemberChange(recent.model, recent, before, None, None, None, "unknown")
    change = sum(now) / len(now) - sum(then) / len(then)
    error = z * math.sqrt(_variance(now) / len(now) + _variance(then) / len(then))
    low, high = change - error, change + error
    if min(len(now), len(then)) < MIN_COMPARED:
        return MemberChange(recent.model, recent, before, change, low, high, "unknown")
    verdict: Literal["worse", "better", "no change seen"] = (
        "worse" if high < 0 else "better" if low > 0 else "no change seen"
    )
    return MemberChange(recent.model, recent, before, change, low, high, verdict)


def _residuals(answers: Iterable[JudgedAnswer], model: str) -> list[float]:
    """Return the member's scores minus what was predicted of it; a prediction that is unknown counts as 0."""
    return [s - (a.prior.get(model) or 0.0) for a in answers if (s := a.fair_scores.get(model)) is not None]


def _variance(values: Sequence[float]) -> float:
    """Return the variance, as if one further value lay 0.7 off: ten equal values do not prove that there is none."""
    mean = sum(values) / len(values)
    return (sum((v - mean) ** 2 for v in values) + 0.5) / len(values)


def _rate(model: str, scores: Sequence[float]) -> MemberRate:
    if not scores:
        return MemberRate(model, 0, None, None, None)
    mean = sum(scores) / len(scores)
    return MemberRate(model, len(scores), mean, *wilson_interval(mean, len(scores)))
