"""Choose, on training records, the prices of a dollar that keep 97 and 99 % of the best single model's accuracy.

Each price of a dollar is a point of cost and accuracy across folds. On the lower convex hull of these points two
neighbours are mixed, by a hash of each query's text, so that the level is kept on average and not by more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from routemoa.core.learned.cost_dial import Dial, Point, draw_from_text, find_hull, mix_points
from routemoa.scoring.predictor import Floats
from routemoa.training.table import Table, fill_costs

__all__ = [
    "ACCURACY_LEVELS",
    "COST_RATES",
    "RateMix",
    "choose_at_mix",
    "choose_cost_rates",
    "choose_models",
    "read_rate_mix",
    "weigh_questions_equally",
    "weigh_tasks_equally",
]

ACCURACY_LEVELS = {"at_97": 0.97, "at_99": 0.99}
"""Name -> the share of the best single model's accuracy that is to be kept."""
COST_RATES = np.concatenate([[0.0], np.geomspace(1e-3, 10.0, 200)])
"""The rates that are tried: probability of a right answer for the mean cost of a call of the best single model."""
RateMix = Mapping[str, float]
"""Two rates (probability for a dollar), `low` and `high` by what they spend, and the `share` of queries of the high."""


class _RatePoint(Point, frozen=True, kw_only=True):
    """What a rate reaches, as shares of the best single model's cost and accuracy."""

    rate: float


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


def choose_at_mix(predicted: Floats, costs: Floats, mix: RateMix, texts: Sequence[str]) -> NDArray[np.intp]:
    """Return the model for each of N questions, at the rate of a mix that the question's text draws."""
    draws = np.array([draw_from_text(text) for text in texts])
    low, high = (choose_models(predicted, costs, mix[end]) for end in ("low", "high"))
    chosen: NDArray[np.intp] = np.where(draws < mix["share"], high, low)
    return chosen


def read_rate_mix(value: float | RateMix) -> RateMix:
    """Return a mix; a scorer of before has one rate in its place."""
    return {"low": value, "high": value, "share": 0.0} if isinstance(value, int | float) else value


def choose_cost_rates(
    predicted: Floats, expected: Floats, data: Table, means: Floats, weights: Floats
) -> dict[str, RateMix] | None:
    """Return the mix of rates for each of ACCURACY_LEVELS; None where no costs are recorded.

    Args:
        predicted: N x M, P(right), predicted across folds.
        expected: N x M dollars, predicted across folds.
        data: what was measured.
        means: M, by which the best single model is chosen.
        weights: of the questions, N, summing to 1: those that figures are reported with.
    """
    priced = ~np.isnan(data.costs).all(axis=0)
    if not priced.any():
        return None
    single = int(np.where(priced, means, -1.0).argmax())
    rows = np.arange(len(predicted))
    usable = np.where(np.isnan(data.scores), np.nan, predicted)
    truth = np.nan_to_num(data.scores)
    weights = weights * ~np.isnan(data.scores[:, single])  # shares are of what that model reaches where it was measured
    dollars = np.nan_to_num(fill_costs(data.costs))  # a model without any price is never chosen
    scale = float(np.nanmean(data.costs[:, single])) or 1.0
    accuracy, cost = float(weights @ truth[:, single]) or 1.0, float(weights @ dollars[:, single]) or 1.0
    points = []
    for rate in COST_RATES / scale:
        chosen = choose_models(usable, expected, float(rate))
        spent, reached = float(weights @ dollars[rows, chosen]), float(weights @ truth[rows, chosen])
        points.append(_RatePoint(cost=spent / cost, quality=reached / accuracy, rate=float(rate)))
    hull = find_hull(points)
    out: dict[str, RateMix] = {}
    for name, level in ACCURACY_LEVELS.items():
        mix = mix_points(hull, Dial(quality=level))
        out[name] = {"low": hull[mix.low].rate, "high": hull[mix.high].rate, "share": mix.share}
    return out


def weigh_questions_equally(tasks: Sequence[str]) -> Floats:
    """Return the same weight for each question, N; they sum to 1."""
    return np.full(len(tasks), 1.0 / len(tasks), np.float32)


def weigh_tasks_equally(tasks: Sequence[str]) -> Floats:
    """Return weights of questions, N, that sum to 1 in all and to the same for every task."""
    sizes = Counter(tasks)
    return np.array([1.0 / (sizes[t] * len(sizes)) for t in tasks], np.float32)
