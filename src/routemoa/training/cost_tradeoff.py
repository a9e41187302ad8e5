"""Which price of a dollar keeps 97 and 99 % of the best single model's accuracy: chosen on training records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from routemoa.scoring.predictor import Floats
from routemoa.training.table import Table

__all__ = ["ACCURACY_LEVELS", "COST_RATES", "choose_models", "weigh_tasks_equally", "choose_cost_rates"]

ACCURACY_LEVELS = {"at_97": 0.97, "at_99": 0.99}
TOLERANCE = 1.0  # standard errors: a trade-off counts as keeping what it is not shown to fall short of by more
COST_RATES = np.concatenate([[0.0], np.geomspace(1e-3, 10.0, 200)])  # probability for the best single model's mean cost


def choose_models(predicted: Floats, costs: Floats, rate: float) -> NDArray[np.intp]:
    """For each question the model with the most of P(right) - rate x dollars; one of unknown cost is not chosen."""
    utility = np.where(np.isnan(costs) | np.isnan(predicted), -np.inf, predicted - rate * costs)
    picked: NDArray[np.intp] = utility.argmax(axis=1)
    return picked


def choose_cost_rates(predicted: Floats, expected: Floats, data: Table, means: Floats) -> dict[str, float] | None:
    """Rates (probability for a dollar) for each level of KEEP; None where the records tell no costs.

    The cheapest that is not shown to fall short, by one standard error across folds. Every task counts alike, as tasks
    differ tenfold in what a call costs.

    Args:
        predicted: N x M, P(right), made across folds.
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
    alone = truth[:, single]
    scale = float(np.nanmean(data.costs[:, single])) or 1.0
    out = dict.fromkeys(ACCURACY_LEVELS, 0.0)
    for rate in COST_RATES / scale:
        had = truth[rows, choose_models(usable, expected, float(rate))]
        for name, keep in ACCURACY_LEVELS.items():
            gap = had - keep * alone
            lost = float(weights @ gap)
            if lost >= -TOLERANCE * float(np.sqrt(np.square(weights) @ np.square(gap - lost))):
                out[name] = float(rate)
    return out


def weigh_tasks_equally(tasks: Sequence[str]) -> Floats:
    """Weights of questions, N, that sum to 1 and to the same for every task."""
    sizes = Counter(tasks)
    return np.array([1.0 / (sizes[t] * len(sizes)) for t in tasks], np.float32)
