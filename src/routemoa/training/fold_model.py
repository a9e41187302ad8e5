"""The prior, the ridges and the panels of the fast recipe, fitted on the questions of some folds. Numpy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from routemoa.scoring.mean_scores import fit_means
from routemoa.scoring.predictor import Floats, softmax
from routemoa.training.linear import Ridge
from routemoa.training.panels import Panels, build_panels
from routemoa.training.table import Table, average_rows, average_samples

__all__ = ["FoldModel"]

TASK_PENALTY = 1.0
TASK_SHARPNESS = 8.0
"""What the outputs of the ridge classifier are multiplied with to be logits."""
TASK_PRIOR_QUESTIONS = 10.0
"""Weight of a model's overall mean in its mean on a task, in questions."""


class FoldModel:
    """The prior, the ridges and the panels, fitted on some of the questions."""

    def __init__(self, x: Floats, groups: NDArray[np.intp], data: Table, tasks: int) -> None:
        scores = average_samples(data.models, data.scores)
        self._ridge, self._x, self._scores = Ridge(x), x, scores
        fitted = fit_means(scores, prior_questions=1.0)
        self.means = np.clip(fitted.means, 0.0, 1.0)
        onehot = np.eye(tasks, dtype=np.float32)[groups]
        self.task_shares = onehot.mean(0)
        self.task_weights, self.task_bias = _fit_task_classifier(x, onehot)
        leveled = _shrink_task_means(onehot, scores - fitted.levels[:, None], fitted.means)
        task_levels = (onehot.T @ fitted.levels) / (onehot.sum(0) + TASK_PRIOR_QUESTIONS)
        self.task_means = np.clip(leveled + task_levels[:, None], 0.0, 1.0)
        self.task_costs = _shrink_task_means(onehot, data.costs, average_rows(data.costs.T))
        self.panels: Panels = build_panels(data.scores, onehot, self.task_means)

    def classify_tasks(self, x: Floats) -> Floats:
        """Return P(task | query), N x T."""
        return softmax(x @ self.task_weights + self.task_bias)

    def fit_ridges(self, common: Sequence[float], own: Sequence[float]) -> tuple[list[Floats], list[Floats]]:
        """Regress what the prior leaves: the weights for all models together (D x 1), and for each one (D x M)."""
        left = self._scores - self.classify_tasks(self._x) @ self.task_means
        shared = average_rows(left)[:, None]
        return self._ridge.fit_masked(shared, common), self._ridge.fit_masked(left - shared, own)


def _fit_task_classifier(x: Floats, onehot: Floats) -> tuple[Floats, Floats]:
    """Return weights (D x T) and bias (T) of the logits of P(task | query).

    Every task has the same weight, so that a query unlike all tasks is not taken for one of the largest.
    """
    sizes, count = onehot.sum(0), onehot.shape[1]
    root = np.sqrt(len(x) / (count * np.maximum(sizes, 1.0)))[onehot.argmax(1), None].astype(np.float32)
    weights = Ridge(x * root).fit((onehot - 1.0 / count) * root, (TASK_PENALTY,))[0]
    return TASK_SHARPNESS * weights, np.full(count, TASK_SHARPNESS / count, np.float32)


def _shrink_task_means(onehot: Floats, values: Floats, means: Floats) -> Floats:
    """Return means of values (N x M) on each task, T x M, drawn towards the overall `means` where questions are few."""
    measured = ~np.isnan(values)
    sums, counts = onehot.T @ np.where(measured, values, 0.0), onehot.T @ measured.astype(np.float32)
    out: Floats = ((sums + TASK_PRIOR_QUESTIONS * means) / (counts + TASK_PRIOR_QUESTIONS)).astype(np.float32)
    return out
