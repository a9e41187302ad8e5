"""What the mixture adds over one member alone, on the caller's own questions, and whether feedback can tell. Pure.

A question tells both scores only where the member's own answer was judged, too. A thumb judges the given answer: it
holds for the members that say the same, so that no difference is seen, and says nothing of one that disagrees. Such
questions are not left out, which would favour whatever they hide. The member is taken to be right on all of them, and
wrong on all of them: what is true lies between (Horowitz and Manski, 2000, bounds with missing outcomes).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from routemoa.evaluation.statistics import MeanInterval, gain_interval, gain_intervals
from routemoa.evaluation.traffic.judged_answer import JudgedAnswer

__all__ = ["MIN_ANSWERS", "MixtureGain", "measure_gains"]

MIN_ANSWERS = 30
"""Judged answers, below which nothing is said of the gain."""

Verdict = Literal["adds", "loses", "no difference seen", "unknown"]


class MixtureGain(Struct, frozen=True):
    """The mixture beside one member on the same questions."""

    member: str
    answers: int
    """Answers of the mixture whose score is known."""
    known: int
    """Of these, questions on which the member's own answer was judged, too."""
    not_called: int
    """Questions for which the member was not asked."""
    not_judged: int
    """Questions that it answered, and nothing is known of its answer."""
    mixture: float | None
    """Mean score of the mixture's answers."""
    gain: MeanInterval | None
    """Score of the mixture minus the member's, over those known to both."""
    low: float | None
    high: float | None
    """Bounds of the gain on all answers: 95 % of the resamples, and whatever the unknown scores are."""
    verdict: Verdict
    why: Literal["few answers", "not judged", "interval", "bounds"]
    """What the verdict rests on: too few answers; unknown scores that may turn it; the interval; or the bounds, which
    hold whatever the unknown scores are."""
    extra_cost: float | None
    """Mean dollars that the mixture costs beyond the member's own call, a question."""
    extra_seconds: float | None
    """Mean seconds that it takes beyond the member's own call, a question."""


def measure_gains(answers: Sequence[JudgedAnswer], members: Sequence[str], seed: int = 0) -> list[MixtureGain]:
    """Compare the mixture with each member on the questions whose answers were judged."""
    rated = [(a, a.given) for a in answers if a.is_mixture and a.given is not None]
    columns = [
        [given - (if_unknown if (own := a.scores.get(m)) is None else own) for a, given in rated]
        for m in members
        for if_unknown in (1.0, 0.0)
    ]
    bounds = gain_intervals(columns, seed) if rated and members else []
    pairs = {m: (bounds[2 * i], bounds[2 * i + 1]) for i, m in enumerate(members)} if bounds else {}
    return [_measure_gain(answers, rated, m, pairs.get(m), seed) for m in members]


def _measure_gain(
    answers: Sequence[JudgedAnswer],
    rated: Sequence[tuple[JudgedAnswer, float]],
    member: str,
    bounds: tuple[MeanInterval, MeanInterval] | None,
    seed: int,
) -> MixtureGain:
    known = [given - own for a, given in rated if (own := a.scores.get(member)) is not None]
    not_called = sum(a.scores.get(member) is None and member not in a.called for a, _ in rated)
    low, high = (None, None) if bounds is None else (bounds[0].low, bounds[1].high)
    gain = None
    if known:
        gain = bounds[0] if bounds and len(known) == len(rated) else gain_interval(known, seed)
    verdict, why = _decide(len(rated), len(known), low, high)
    both = [a for a in answers if a.is_mixture and member in a.called]
    return MixtureGain(
        member,
        len(rated),
        len(known),
        not_called,
        len(rated) - len(known) - not_called,
        _mean([given for _, given in rated]),
        gain,
        low,
        high,
        verdict,
        why,
        _mean([a.cost - a.costs[member] for a in both if a.cost is not None and member in a.costs]),
        _mean([a.latency - a.seconds[member] for a in both if a.latency is not None and member in a.seconds]),
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _decide(
    rated: int, known: int, low: float | None, high: float | None
) -> tuple[Verdict, Literal["few answers", "not judged", "interval", "bounds"]]:
    """Return what can be said of the gain, and what it rests on."""
    if rated < MIN_ANSWERS or low is None or high is None:
        return "unknown", "few answers"
    if low > 0:
        return "adds", "interval" if known == rated else "bounds"
    if high < 0:
        return "loses", "interval" if known == rated else "bounds"
    if known < rated:
        return "unknown", "not judged"
    return "no difference seen", "interval"
