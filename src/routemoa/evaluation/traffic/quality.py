"""All figures of a server's quality in one: what feedback says of priors, posteriors, members and the mixture. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from routemoa.evaluation.calibration import Calibration, calibrate_pairs
from routemoa.evaluation.traffic.gain import MixtureGain, measure_gains
from routemoa.evaluation.traffic.judged_answer import JudgedAnswer
from routemoa.evaluation.traffic.members import (
    MemberChange,
    MemberRate,
    compare_weeks,
    find_shared_fall,
    list_weekly_rates,
)
from routemoa.evaluation.traffic.question_kinds import QuestionKind, find_kinds

__all__ = ["MemberCalibration", "Quality", "measure_quality"]


class MemberCalibration(Struct, frozen=True):
    """How well what was believed of one member agrees with its scores."""

    model: str
    prior: Calibration | None
    posterior: Calibration | None


class Quality(Struct, frozen=True):
    """What feedback says of a server; None and empty where it says nothing."""

    judged: int
    """Answers with feedback that scores some answer."""
    thumbs: int
    """Of these, answers of which only the given text was judged."""
    prior: Calibration | None
    posterior: Calibration | None
    calibration: list[MemberCalibration]
    changes: list[MemberChange]
    shared_fall: float | None
    """By how much all members fell alike this week: the questions may be harder. None where they did not."""
    weeks: list[tuple[float, list[MemberRate]]]
    """(Start in seconds since the epoch, rates) of each week with feedback."""
    kinds: list[QuestionKind]
    gains: list[MixtureGain]
    """Over each member; that over the best single model first."""


def measure_quality(answers: Sequence[JudgedAnswer], members: Sequence[str], best: str | None, now: float) -> Quality:
    """Measure what feedback says.

    Args:
        answers: with feedback.
        members: of the pool.
        best: the best single model, as it is known without this feedback; chosen by it, luck would choose.
        now: seconds since the epoch.
    """
    order = sorted(members, key=lambda m: m != best)
    changes = compare_weeks(answers, members, now)
    return Quality(
        len(answers),
        sum(a.is_thumb for a in answers),
        calibrate_pairs([pair for m in members for pair in _pairs(answers, m, of_prior=True)]),
        calibrate_pairs([pair for m in members for pair in _pairs(answers, m, of_prior=False)]),
        [
            MemberCalibration(
                m,
                calibrate_pairs(_pairs(answers, m, of_prior=True)),
                calibrate_pairs(_pairs(answers, m, of_prior=False)),
            )
            for m in members
        ],
        changes,
        find_shared_fall(changes),
        list_weekly_rates(answers, members, now),
        find_kinds(answers, members),
        measure_gains(answers, order),
    )


def _pairs(answers: Sequence[JudgedAnswer], model: str, *, of_prior: bool) -> list[tuple[float, float]]:
    """Return (probability, score) of a member's own answers, where both are known."""
    believed = ((a.prior if of_prior else a.posterior, a.fair_scores.get(model)) for a in answers)
    return [(p, score) for scores, score in believed if score is not None and (p := scores.get(model)) is not None]
