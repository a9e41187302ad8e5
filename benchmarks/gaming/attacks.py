"""Attacks by scores: what an attacking judge says instead of its honest scores."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from cases import Case, JudgeScores
from msgspec import Struct

__all__ = ["ATTACKS", "ScoreAttack", "apply_attack"]

Lie = Callable[[Case, str, str], float | None]
"""Returns an attacker's score from the case, the judge and the subject; None keeps the honest score."""


class ScoreAttack(Struct, frozen=True):
    """A number of attackers, and the scores that they give."""

    attackers: int
    lie: Lie


def _inflate(case: Case, judge: str, subject: str) -> float | None:
    return 1.0 if judge == subject else None


def _put_down(case: Case, judge: str, subject: str) -> float | None:
    return None if judge == subject else 0.0


def _both(case: Case, judge: str, subject: str) -> float | None:
    return float(judge == subject)


def _collude(case: Case, judge: str, subject: str) -> float | None:
    return float(subject in case.attackers)


def _against_truth(case: Case, judge: str, subject: str) -> float | None:
    return 1.0 if subject in case.attackers else 1.0 - case.truth[subject]


def _constant(case: Case, judge: str, subject: str) -> float | None:
    return 0.7


def _noise(case: Case, judge: str, subject: str) -> float | None:
    return Random(f"{case.seed}:{case.question}:{judge}:{subject}:noise").random()


ATTACKS = {
    "inflate self": ScoreAttack(1, _inflate),
    "put down others": ScoreAttack(1, _put_down),
    "both": ScoreAttack(1, _both),
    "against the truth": ScoreAttack(1, _against_truth),  # knows the truth: 0 for right answers, 1 for wrong ones
    "constant scores": ScoreAttack(1, _constant),
    "noise": ScoreAttack(1, _noise),
    "two collude": ScoreAttack(2, _collude),
    "two collude against the truth": ScoreAttack(2, _against_truth),
}


def apply_attack(case: Case, honest: JudgeScores, attack: ScoreAttack) -> JudgeScores:
    """Return the scores with those of the attackers replaced."""
    scores = dict(honest)
    for judge in case.attackers:
        for subject in case.panel:
            lie = attack.lie(case, judge, subject)
            scores[judge, subject] = honest[judge, subject] if lie is None else lie
    return scores
