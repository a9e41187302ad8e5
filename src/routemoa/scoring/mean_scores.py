"""Compare models that were not all asked the same questions: the mean of each, and the level of each question."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np

from routemoa.scoring.predictor import Floats

__all__ = ["MeanScores", "average_scores", "fit_means"]

LEVEL_PENALTIES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, inf)
"""Penalties of a question's level, in models: the variance of one answer around mean and level, over that of levels."""


@dataclass(frozen=True)
class MeanScores:
    """What is left of N questions and M models when their differences are told apart."""

    means: Floats
    """M: each model's expected score on these questions; beyond 0 and 1 where few answers say so."""
    levels: Floats
    """N: by how much each question is easier than the means say. All 0 for a complete table, where they change none."""


def average_scores(scores: Floats) -> Floats:
    """Return each model's expected score on these questions, M: see `fit_means`."""
    return fit_means(scores).means


def fit_means(scores: Floats, prior_questions: float = 0.0) -> MeanScores:
    """Fit the mean of each model, 0 where it was measured on no question.

    Of a complete table it is the plain mean. Otherwise a model that was asked the hard questions only, because others
    disagreed on them, would look worse than it is. So each answer counts as its model's mean, plus its question's
    level, plus noise: a mixed model (Henderson, 1975). How much levels differ is fitted by maximum likelihood, which
    holds though the answers that were seen decided who was asked next ("missing at random", Rubin, 1976).

    Args:
        scores: N x M, in [0, 1]; NaN where a model was not measured.
        prior_questions: the weight of all models' mean in each one's, in questions.
    """
    measured = ~np.isnan(scores)
    filled, counts = np.where(measured, scores, 0.0), measured.sum(0)
    prior = prior_questions * (filled.sum() / max(1, measured.sum()))
    if measured.all():
        means = (filled.sum(0) + prior) / np.maximum(1, counts + prior_questions)
        return MeanScores(means.astype(np.float32), np.zeros(len(scores), np.float32))
    fits = (_fit_at(penalty, scores, prior, prior_questions) for penalty in LEVEL_PENALTIES)
    return max(fits, key=lambda fit: fit[0])[1]


def _fit_at(penalty: float, scores: Floats, prior: float, prior_questions: float) -> tuple[float, MeanScores]:
    """Return the log-likelihood of the best means for this penalty, but for a constant; and the means and levels."""
    measured = ~np.isnan(scores)
    filled = np.where(measured, scores, 0.0).astype(np.float64)
    rows, columns = measured.sum(1), measured.sum(0)
    shares = measured / (rows[:, None] + penalty)
    weights = np.diag(np.where(columns, columns, 1) + prior_questions) - measured.T.astype(np.float64) @ shares
    means = np.linalg.solve(weights, filled.sum(0) + prior - shares.T @ filled.sum(1))
    left = np.where(measured, filled - means, 0.0)
    levels = left.sum(1) / (rows + penalty)
    noise = max(float(np.square(left).sum() - levels @ left.sum(1)), 1e-9)
    likelihood = -0.5 * (rows.sum() * np.log(noise) + np.log1p(rows / penalty).sum())
    return float(likelihood), MeanScores(means.astype(np.float32), levels.astype(np.float32))
