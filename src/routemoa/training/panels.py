"""The set head: what a panel of models is worth, because the best three are not the three best.

Models that err together are worth less together. So whole panels are scored (any member right), by the same soft task
prior as single models; what a residual of the query would add was within noise (docs/scorer.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from routemoa.scoring.predictor import Floats

__all__ = ["Panels", "build_panels"]

PANEL_SIZE = 3
MAX_CANDIDATES = 14  # the models from which panels are formed
KEPT_OVERALL, KEPT_PER_TASK = 96, 8  # panels kept: overall, and on each task
MAX_PANELS = 512
TASK_PRIOR_QUESTIONS = 10.0  # questions' worth of the overall value in a task's


@dataclass(frozen=True)
class Panels:
    """C panels: `members` C x K columns of models, `values` T x C, P(any member right) on each task."""

    members: NDArray[np.intp]
    values: Floats

    def choose_best(self, likely: Floats) -> NDArray[np.intp]:
        """The members of the best panel for each row of P(task | query), N x K."""
        chosen: NDArray[np.intp] = self.members[(likely @ self.values).argmax(axis=1)]
        return chosen


def build_panels(scores: Floats, onehot: Floats, task_means: Floats) -> Panels:
    """The most promising panels of three (or of all, where there are fewer), and their values.

    Args:
        scores: N x M, NaN where not measured, which counts as not right.
        onehot: N x T, the task of each question.
        task_means: T x M, by which the models are chosen that panels are formed of.
    """
    filled = np.where(np.isnan(scores), 0.0, scores).astype(np.float32)
    pool = set(np.argsort(-filled.mean(0))[:MAX_CANDIDATES].tolist()) | set(task_means.argmax(1).tolist())
    members = np.array(list(combinations(sorted(pool), min(PANEL_SIZE, len(pool)))), np.intp)
    seen = onehot.sum(0)[:, None]
    overall = np.zeros(len(members), np.float32)
    hits = np.zeros((onehot.shape[1], len(members)), np.float32)
    for c, panel in enumerate(members):
        value = filled[:, panel].max(1)
        overall[c], hits[:, c] = value.mean(), onehot.T @ value
    values = ((hits + TASK_PRIOR_QUESTIONS * overall) / (seen + TASK_PRIOR_QUESTIONS)).astype(np.float32)
    keep = dict.fromkeys(np.argsort(-overall, kind="stable")[:KEPT_OVERALL].tolist())
    for row in values:
        keep |= dict.fromkeys(np.argsort(-row, kind="stable")[:KEPT_PER_TASK].tolist())
    chosen = list(keep)[:MAX_PANELS]
    return Panels(members[chosen], values[:, chosen])
