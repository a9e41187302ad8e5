"""Compare models that were not all asked the same questions: the mean of each, and the level of each question."""

from __future__ import annotations

import numpy as np

from routemoa.scoring.predictor import Floats

__all__ = ["average_scores", "measure_levels"]

LEVEL_PENALTY = 1.0
"""The penalty of a question's effect, in models: the variance of one answer around both effects, over that of the
question's effect. Between .6 and 2.5 in twelve of thirteen files of records; of .25 to 8 this erred least on them."""


def average_scores(scores: Floats, prior_questions: float = 0.0) -> Floats:
    """Return each model's expected score on these questions, M; 0 where it was measured on none.

    Of a complete table it is the mean. Otherwise a model that was asked the hard questions only, because others
    disagreed on them, would look worse than it is: what questions are easier or harder than others by is taken out
    (ridge regression on a model's and a question's effect).

    Args:
        scores: N x M, in [0, 1]; NaN where a model was not measured.
        prior_questions: the weight of all models' mean in each one's, in questions.
    """
    measured = ~np.isnan(scores)
    filled, counts = np.where(measured, scores, 0.0), measured.sum(0)
    sums, prior = filled.sum(0), prior_questions * (filled.sum() / max(1, measured.sum()))
    if measured.all():
        means = (sums + prior) / np.maximum(1, counts + prior_questions)
    else:
        shares = measured / (measured.sum(1, keepdims=True) + LEVEL_PENALTY)
        weights = np.diag(np.where(counts, counts, 1) + prior_questions) - measured.T.astype(np.float64) @ shares
        means = np.clip(np.linalg.solve(weights, sums + prior - shares.T @ filled.sum(1)), 0.0, 1.0)
    return np.asarray(means, np.float32)


def measure_levels(scores: Floats, means: Floats) -> Floats:
    """Return by how much each question is easier than the models' means say, N; 0 for all of a complete table.

    In a complete table every model was asked the same questions, so that their levels change no comparison.
    """
    measured = ~np.isnan(scores)
    if measured.all():
        return np.zeros(len(scores), np.float32)
    left = np.where(measured, scores - means, 0.0).sum(1)
    return np.asarray(left / (measured.sum(1) + LEVEL_PENALTY), np.float32)
