"""Choose, on training records, the price of a dollar that keeps 97 and 99 % of the best single model's accuracy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from routemoa.scoring.predictor import Floats
from routemoa.training.table import Table

__all__ = ["ACCURACY_LEVELS", "COST_RATES", "choose_cost_rates", "choose_models", "weigh_tasks_equally"]

ACCURACY_LEVELS = {"at_97": 0.97, "at_99": 0.99}
"""Name -> the share of the best single model's accuracy that is to be kept."""
TOLERANCE = 1.0
"""Standard errors: a rate counts as keeping a level unless it falls short of it by more."""
COST_RATES = np.concatenate([[0.0], np.geomspace(1e-3, 10.0, 200)])
"""The rates that are tried: probability of a right answer for the mean cost of a call of the best single model."""


def choose_models(predicted: Floats, costs: Floats, rate: float) -> NDArray[np.intp]:
    """Return the model with the most of P(right) - rate * dollars for each question, N columns.

    Args:
        predicted: N x M, P(right).
        costs: N x M dollars; a model of unknown cost (NaN) is not chosen.
        rate: probability for a dollar.
    """
    utility = np.where(np.isnan(costs) | np.isnan(predicted), -np.inf, predicted - rate * costs)
    chosen: NDArray[np.intp] = utility.argmax(axis=1)
    return chosen


def choose_cost_rates(predicted: Floats, expected: Floats, data: Table, means: Floats) -> dict[str, float] | None:
    """Return the rate (probability for a dollar) for each of ACCURACY_LEVELS; None where no costs are recorded.

    This is the highest rate that is not shown to fall short of the level, by one standard error across folds. Every
    task has the same weight, because tasks differ tenfold in what a call costs.

    Args:
        predicted: N x M, P(right), predicted across folds.
        expected: N x M dollars, predicted across folds.
        data: what was measured.
        means: M, by which the best single model is chosen.
    """
    priced = ~np.isnan(data.costs).all(axis=0)
    if not priced.any():
        return None
    single = int(np.where(priced, means, -1.0).argmax())
    rows, weights = np.arange(len(predicted)), weigh_tasks_equally(data.tasks)
    usable = np.where(np.isnan(data.scores), np.nan, predicted)
    truth = np.nan_to_num(data.scores)
    single_scores = truth[:, single]
    scale = float(np.nanmean(data.costs[:, single])) or 1.0
    chosen_rates = dict.fromkeys(ACCURACY_LEVELS, 0.0)
    for rate in COST_RATES / scale:
        chosen_scores = truth[rows, choose_models(usable, expected, float(rate))]
        for name, level in ACCURACY_LEVELS.items():
            gap = chosen_scores - level * single_scores
            mean_gap = float(weights @ gap)
            standard_error = float(np.sqrt(np.square(weights) @ np.square(gap - mean_gap)))
            if mean_gap >= -TOLERANCE * standard_error:
                chosen_rates[name] = float(rate)
    return chosen_rates


def weigh_tasks_equally(tasks: Sequence[str]) -> Floats:
    """Return weights of questions, N, that sum to 1 in all and to the same for every task."""
    sizes = Counter(tasks)
    return np.array([1.0 / (sizes[t] * len(sizes)) for t in tasks], np.float32)
