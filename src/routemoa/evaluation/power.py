"""How many questions a comparison of two methods needs until its difference is significant. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from msgspec import Struct

from routemoa.core.learned.intervals import wilson_interval
from routemoa.core.text.plural import counted

__all__ = ["ALPHA", "NOTICEABLE", "POWER", "SampleSize", "count_questions", "estimate_sample_size"]

POWER = 0.8
ALPHA = 0.05
MIN_DIFFERING = 10
"""Questions on which two methods must differ before the size of their difference means anything."""
MAX_QUESTIONS = 100_000
"""A difference that takes more does not matter."""
NOTICEABLE = 0.05
"""Of the accuracy: the difference that is planned for where the observed one means nothing."""


class SampleSize(Struct, frozen=True):
    """How many questions two methods have to answer in all."""

    asked: int
    """Questions that both have answered."""
    differing: int
    """Of these, questions on which their scores differ."""
    difference: float
    """Observed mean difference of the scores."""
    needed: int | None
    """Questions in all, if the difference is as large as observed; None where that cannot be estimated."""
    needed_for_noticeable: int
    """Questions in all that would show a difference of NOTICEABLE."""
    why: str | None = None
    """Why `needed` is None."""

    @property
    def more(self) -> int | None:
        """Return how many questions are missing."""
        return None if self.needed is None else max(0, self.needed - self.asked)


def estimate_sample_size(differences: Sequence[float]) -> SampleSize:
    """Estimate how many questions would show a difference like the observed one, four times in five.

    `needed` assumes that the observed difference is the true one, which it is not: from few questions it is as
    uncertain as the difference itself (Hoenig & Heisey 2001, "The abuse of power", The American Statistician 55:19-24).
    So it is None below MIN_DIFFERING questions on which the methods differ. What a difference of NOTICEABLE takes does
    not depend on the observed one, only on how often the methods differ, of which the upper end of the interval counts.

    Args:
        differences: of two methods on each question that both answered, in [-1, 1].
    """
    asked = len(differences)
    differing = sum(d != 0 for d in differences)
    mean = sum(differences) / asked if asked else 0.0
    square = sum(d * d for d in differences) / asked if asked else 0.0
    upper = wilson_interval(min(1.0, square), asked)[1] if asked else 1.0
    noticeable = count_questions(NOTICEABLE, upper)
    why = None
    if differing < MIN_DIFFERING:
        why = f"their results differ on {differing:,} of {counted(asked, 'question')} only"
    elif mean == 0:
        why = "they are right on equally many questions"
    elif (needed := count_questions(mean, square)) <= MAX_QUESTIONS:
        return SampleSize(asked, differing, mean, needed, noticeable)
    else:
        why = f"it would take more than {MAX_QUESTIONS:,}, so it does not matter"
    return SampleSize(asked, differing, mean, None, noticeable, why)


def count_questions(difference: float, mean_square: float) -> int:
    """Return how many questions show a difference with probability POWER at the two-sided level ALPHA.

        n = (z(1 - ALPHA / 2) * sqrt(q) + z(POWER) * sqrt(q - d ** 2)) ** 2 / d ** 2

    d is the mean of the paired differences and q the mean of their squares, which for right and wrong answers is the
    share of questions that only one method gets right: then this is the sample size of McNemar's test (Connor 1987,
    "Sample size for testing differences in proportions for the paired-sample design", Biometrics 43:207-211).

    Args:
        difference: d, not 0.
        mean_square: q; at least d squared, else d squared counts.
    """
    square = difference * difference
    mean_square = max(mean_square, square)
    z_alpha, z_power = NormalDist().inv_cdf(1 - ALPHA / 2), NormalDist().inv_cdf(POWER)
    spread = z_alpha * math.sqrt(mean_square) + z_power * math.sqrt(mean_square - square)
    return math.ceil(spread * spread / square)
