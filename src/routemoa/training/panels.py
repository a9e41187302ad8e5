"""Value panels of models: the best three together are not the three best.

Models that make the same errors are worth less together. So whole panels are valued, by whether at least one member is
right, on each task; adding a correction for the query itself made no measurable difference (docs/research/scorer.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from routemoa.scoring.predictor import Floats

__all__ = ["Panels", "build_panels"]

PANEL_SIZE = 3
MAX_CANDIDATES = 14
"""The best models overall, from which panels are formed, together with the best of each task."""
KEPT_OVERALL = 96
KEPT_PER_TASK = 8
MAX_PANELS = 512
PRIOR_QUESTIONS = 10.0
"""Weight of a panel's overall value in its value on a task, in questions."""


@dataclass(frozen=True)
class Panels:
    """C panels of K models and their values on T tasks."""

    members: NDArray[np.intp]
    """C x K columns of models."""
    values: Floats
    """T x C: P(at least one member is right) on each task."""

    def choose_best(self, task_probabilities: Floats) -> NDArray[np.intp]:
        """Return the members of the best panel for each row of P(task | query) (N x T), N x K."""
        chosen: NDArray[np.intp] = self.members[(task_probabilities @ self.values).argmax(axis=1)]
        return chosen


def build_panels(scores: Floats, onehot: Floats, task_means: Floats) -> Panels:
    """Return the most promising panels of three (of all models, where there are fewer), and their values.

    Args:
        scores: N x M; NaN, not measured, counts as not right.
        onehot: N x T, the task of each question.
        task_means: T x M, by which the best model of each task is chosen.
    """
    filled = np.where(np.isnan(scores), 0.0, scores).astype(np.float32)
    candidates = set(np.argsort(-filled.mean(0))[:MAX_CANDIDATES].tolist()) | set(task_means.argmax(1).tolist())
    members = np.array(list(combinations(sorted(candidates), min(PANEL_SIZE, len(candidates)))), np.intp)
    questions = onehot.sum(0)[:, None]
    overall = np.zeros(len(members), np.float32)
    hits = np.zeros((onehot.shape[1], len(members)), np.float32)
    for c, panel in enumerate(members):
        value = filled[:, panel].max(1)
        overall[c], hits[:, c] = value.mean(), onehot.T @ value
    values = ((hits + PRIOR_QUESTIONS * overall) / (questions + PRIOR_QUESTIONS)).astype(np.float32)
    kept = dict.fromkeys(np.argsort(-overall, kind="stable")[:KEPT_OVERALL].tolist())
    for row in values:
        kept |= dict.fromkeys(np.argsort(-row, kind="stable")[:KEPT_PER_TASK].tolist())
    chosen = list(kept)[:MAX_PANELS]
    return Panels(members[chosen], values[:, chosen])
