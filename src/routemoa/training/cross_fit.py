"""Learn from outcomes, and predict each outcome from the others, so that what is learned can be compared. Pure.

Of a member that drifted, only what came after its last change teaches, and comparisons begin at the last change of all:
what was learned before it would be compared with what no longer is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from routemoa.core.learned.learned_priors import LearnedPriors
from routemoa.core.tables.learning_table import LATEST_OUTCOMES
from routemoa.core.types import Scores
from routemoa.judging.published_fusion import impute_missing
from routemoa.scoring.learned import correct_priors
from routemoa.training.prior_shifts import NOISE, TaughtQuery, fit_common, fit_priors

__all__ = ["FOLDS", "CrossFit", "Lesson", "cross_fit", "predict_lifted", "select_lessons"]

FOLDS = 5


class Lesson(Struct, frozen=True):
    """An outcome as the fit sees it."""

    at: float
    """Seconds since the epoch."""
    prior: Scores
    """The scorer's own, with what the panel's answers added, in [0, 1]."""
    scores: Scores
    """In [0, 1]; None is unknown."""
    tasks: dict[str, float] = {}
    """P(task | query)."""
    id: str = ""


class CrossFit(Struct, frozen=True):
    """What all outcomes teach, and predictions of each by what the other outcomes teach."""

    learned: LearnedPriors
    after: tuple[Scores, ...]
    """Of each outcome, what feedback is expected to say by what the other outcomes teach, in [0, 1]."""
    others: tuple[LearnedPriors, ...]
    """Of each outcome, what the other outcomes teach."""


def select_lessons(lessons: Sequence[Lesson], changes: Mapping[str, float]) -> tuple[list[Lesson], list[int]]:
    """Return what teaches, and the places of those lessons on which what was learned is compared.

    Args:
        lessons: the oldest first.
        changes: member -> seconds since the epoch of its last change; absent where there was none.
    """
    latest = lessons[-LATEST_OUTCOMES:]
    start = max(changes.values(), default=float("-inf"))
    kept = [
        Lesson(
            each.at,
            each.prior,
            {m: s for m, s in each.scores.items() if each.at >= changes.get(m, float("-inf"))},
            each.tasks,
            each.id,
        )
        for each in latest
    ]
    kept = [each for each in kept if any(s is not None for s in each.scores.values())]
    return kept, [i for i, each in enumerate(kept) if each.at >= start]


def cross_fit(lessons: Sequence[Lesson]) -> CrossFit:
    """Return what lessons teach, the oldest first, and predictions of each lesson by the others."""
    learned = fit_priors([_to_query(each) for each in lessons])
    after, taught = [Scores()] * len(lessons), [learned] * len(lessons)
    for fold in range(FOLDS):
        fitted = fit_priors([_to_query(each) for each in _leave_out(lessons, fold)])
        for i in range(fold, len(lessons), FOLDS):
            after[i] = _as_feedback(correct_priors(fitted, lessons[i].prior, lessons[i].tasks))
            taught[i] = fitted
    return CrossFit(learned, tuple(after), tuple(taught))


def predict_lifted(lessons: Sequence[Lesson], now: LearnedPriors) -> tuple[Scores, ...]:
    """Return what feedback is expected to say of each lesson by what was learned before, in [0, 1].

    It is lifted or lowered for all members alike as the other lessons teach: a scorer that is off for all of them makes
    the same choices.
    """
    before = [Scores()] * len(lessons)
    for fold in range(FOLDS):
        others = _leave_out(lessons, fold)
        lifted = fit_common([TaughtQuery(_predict(now, e), e.scores, e.tasks) for e in others])
        for i in range(fold, len(lessons), FOLDS):
            before[i] = _as_feedback(correct_priors(lifted, _predict(now, lessons[i]), lessons[i].tasks))
    return tuple(before)


def _leave_out(lessons: Sequence[Lesson], fold: int) -> list[Lesson]:
    return [each for i, each in enumerate(lessons) if i % FOLDS != fold]


def _predict(learned: LearnedPriors, lesson: Lesson) -> Scores:
    """Return the priors as the ranking takes them: a member without one counts as the mean of the others."""
    return dict(impute_missing(correct_priors(learned, lesson.prior, lesson.tasks), lesson.prior))


def _to_query(lesson: Lesson) -> TaughtQuery:
    return TaughtQuery(lesson.prior, lesson.scores, lesson.tasks)


def _as_feedback(priors: Scores) -> Scores:
    """Return what feedback says of answers that are right with these probabilities: some of it is wrong."""
    return {m: None if p is None else NOISE + (1.0 - 2.0 * NOISE) * p for m, p in priors.items()}
