"""Choose plans by cross-validation: the curve of quality over cost, its hull, and intervals.

For each price of quality every group of queries gets the plan with the most of quality - price * cost. What a choice
reaches is measured on folds that it was not made on, several times over with other folds, so that the curve is of the
procedure and not of its luck. All figures are shares of the best single model's, over questions, each with one weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routemoa.core.learned.cost_dial import Dial, Mix, Point, find_hull, mix_points
from routemoa.core.learned.tuned_policy import TunedPlan
from routemoa.scoring.predictor import Floats
from routemoa.training.tuning.plans import TuningData, list_plans, run_plan

__all__ = ["Curve", "CurvePoint", "Grouping", "find_curve"]

FOLDS = 5
REPEATS = 5
"""Times that the folds are drawn."""
PRICES = np.concatenate([[0.0], np.geomspace(3e-3, 10.0, 80)])
"""Quality that one unit of cost is worth."""
GROUP_COUNTS = (1, 2, 3, 4, 6)
"""Groups of queries that are tried."""
QUESTIONS_OF_A_GROUP = 100
"""The mean size of a group is at least this."""
KMEANS_STARTS = 3
KMEANS_ITERATIONS = 30
RESAMPLES = 1000
Doubles = NDArray[np.float64]
_Results = tuple[Floats, Floats]
"""The scores and the costs of all plans on all questions: plans x N each."""


class CurvePoint(Point, frozen=True, kw_only=True):
    """A point of the curve: what is reached, and the plan of each group, by its place."""

    plans: tuple[int, ...]
    price: int
    """The place in PRICES at which it is chosen."""


@dataclass(frozen=True)
class Grouping:
    """Groups of queries with similar estimates."""

    centers: Floats
    """A row for each group, M columns; no column where there are no estimates."""

    def find_groups(self, estimates: Floats | None, count: int) -> NDArray[np.intp]:
        """Return the group of each of `count` questions."""
        if estimates is None or len(self.centers) == 1:
            return np.zeros(count, np.intp)
        distances = np.square(estimates[:, None, :] - self.centers[None]).sum(2)
        nearest: NDArray[np.intp] = distances.argmin(1)
        return nearest


@dataclass(frozen=True)
class Curve:
    """What tuning found on N questions."""

    plans: tuple[TunedPlan, ...]
    grouping: Grouping
    groups: NDArray[np.intp]
    """N."""
    hull: tuple[CurvePoint, ...]
    scores: Floats
    """Points of the hull x N: the mean score at each point, by plans that were chosen without the question."""
    costs: Floats
    """The same, of the cost."""
    single_scores: Floats
    """N."""
    single_costs: Floats
    """N."""

    def measure_interval(self, mix: Mix, seed: int = 0) -> tuple[list[float], list[float]]:
        """Return the 95 % bootstrap intervals of the cost and of the quality of a mix."""
        rng = np.random.default_rng(seed)
        scores = _blend(self.scores, mix)
        costs = _blend(self.costs, mix)
        out: list[tuple[float, float]] = []
        for _ in range(RESAMPLES):
            rows = rng.integers(0, len(scores), len(scores))
            cost, score = self.single_costs[rows].sum(), self.single_scores[rows].sum()
            if cost > 0 and score > 0:
                out.append((float(costs[rows].sum() / cost), float(scores[rows].sum() / score)))
        low, high = np.quantile(np.array(out), (0.025, 0.975), axis=0)
        return [float(low[0]), float(high[0])], [float(low[1]), float(high[1])]

    def mix(self, dial: Dial) -> Mix:
        """Return the mix of points that a dial asks for."""
        return mix_points(self.hull, dial)


@dataclass(frozen=True)
class _Cells:
    """Sums over the questions of each fold and group, as shares of the best single model's mean."""

    scores: Doubles
    """Plans x folds x groups."""
    costs: Doubles
    questions: int

    def choose(self, price: float) -> NDArray[np.intp]:
        """Return the plan for each group, chosen without each fold: folds x groups; its last row uses all folds."""
        utility = self.scores - price * self.costs
        total = utility.sum(1)
        without = total[:, None, :] - utility
        chosen: NDArray[np.intp] = np.concatenate([without.argmax(0), total.argmax(0)[None]])
        return chosen

    def measure(self, chosen: NDArray[np.intp]) -> tuple[float, float]:
        """Return the cost and quality of plans for each fold and group, on those same folds."""
        folds, groups = np.indices(chosen.shape)
        cost, score = self.costs[chosen, folds, groups].sum(), self.scores[chosen, folds, groups].sum()
        return float(cost / self.questions), float(score / self.questions)


def find_curve(data: TuningData, dial: Dial, seed: int = 0) -> Curve:
    """Choose plans on questions, and return the hull of what they reach across folds.

    The number of groups is the one with the cheapest mix that keeps the dial's quality, or the best within its cost.
    """
    plans = tuple(list_plans(data))
    runs = [run_plan(plan, data, data.costs.mean(0)) for plan in plans]
    results = np.array([run[0] for run in runs], np.float32), np.array([run[1] for run in runs], np.float32)
    best: Curve | None = None
    for count in GROUP_COUNTS:
        if count > 1 and (data.estimates is None or len(data.scores) < count * QUESTIONS_OF_A_GROUP):
            break
        grouping = _find_centers(data, count, seed)
        curve = _fit_curve(data, plans, results, grouping, seed)
        if best is None or _rate(curve, dial) > _rate(best, dial):
            best = curve
    if best is None:
        raise ValueError("no curve")
    return best


def _fit_curve(
    data: TuningData, plans: tuple[TunedPlan, ...], results: _Results, grouping: Grouping, seed: int
) -> Curve:
    """Return the curve with these groups."""
    n, single = len(data.scores), data.best_single
    scores, costs = results
    groups = grouping.find_groups(data.estimates, n)
    points = np.zeros((len(PRICES), 2))
    kept: list[tuple[list[NDArray[np.intp]], NDArray[np.intp]]] = []
    for repeat in range(REPEATS):
        folds = np.random.default_rng((seed, repeat)).permutation(n) % FOLDS
        cells = _sum_cells(data, results, folds, groups, len(grouping.centers))
        chosen = [cells.choose(float(price)) for price in PRICES]
        points += np.array([cells.measure(c[:-1]) for c in chosen]) / REPEATS
        kept.append((chosen, folds))
    found = [
        CurvePoint(cost=float(cost), quality=float(quality), plans=tuple(kept[0][0][i][-1].tolist()), price=i)
        for i, (cost, quality) in enumerate(points)
    ]
    alone = next(i for i, plan in enumerate(plans) if plan.order == (data.models[single],))
    # The best single model alone has the quality and cost 1 by definition.
    found.append(CurvePoint(cost=1.0, quality=1.0, plans=(alone,) * len(grouping.centers), price=-1))
    hull = tuple(find_hull(found))
    rows = np.arange(n)
    places = [
        [np.full(n, alone)] if p.price < 0 else [chosen[p.price][folds, groups] for chosen, folds in kept] for p in hull
    ]
    return Curve(
        plans=plans,
        grouping=grouping,
        groups=groups,
        hull=hull,
        scores=np.array([np.mean([scores[place, rows] for place in drawn], axis=0) for drawn in places]),
        costs=np.array([np.mean([costs[place, rows] for place in drawn], axis=0) for drawn in places]),
        single_scores=data.scores[:, single],
        single_costs=data.costs[:, single],
    )


def _rate(curve: Curve, dial: Dial) -> tuple[float, float]:
    """Return how well a curve does what a dial asks for, the higher the better: what is reached, then what it saves."""
    reached = curve.mix(dial).average(curve.hull)
    if dial.quality is None:
        return reached.quality, -reached.cost
    return min(reached.quality, dial.quality), -reached.cost


def _sum_cells(
    data: TuningData, results: _Results, folds: NDArray[np.intp], groups: NDArray[np.intp], count: int
) -> _Cells:
    scores, costs = results
    onehot = np.zeros((len(folds), FOLDS * count), np.float32)
    onehot[np.arange(len(folds)), folds * count + groups] = 1.0
    single = data.best_single
    shape = (len(scores), FOLDS, count)
    return _Cells(
        (scores @ onehot).astype(np.float64).reshape(shape) / float(data.scores[:, single].mean()),
        (costs @ onehot).astype(np.float64).reshape(shape) / float(data.costs[:, single].mean()),
        len(folds),
    )


def _find_centers(data: TuningData, count: int, seed: int) -> Grouping:
    """Return `count` groups of questions by their estimates, by k-means."""
    if data.estimates is None:
        return Grouping(np.zeros((1, 0), np.float32))
    x, rng = data.estimates, np.random.default_rng(seed)
    best: tuple[float, Floats] | None = None
    for _ in range(KMEANS_STARTS if count > 1 else 1):
        centers = x[rng.choice(len(x), count, replace=False)]
        for _ in range(KMEANS_ITERATIONS):
            nearest = Grouping(centers).find_groups(x, len(x))
            means = [x[nearest == j].mean(0) if (nearest == j).any() else centers[j] for j in range(count)]
            centers = np.array(means, np.float32)
        loss = float(np.square(x - centers[Grouping(centers).find_groups(x, len(x))]).sum())
        if best is None or loss < best[0]:
            best = loss, centers
    return Grouping(best[1] if best else x[:1])


def _blend(values: Floats, mix: Mix) -> Floats:
    out: Floats = (1.0 - mix.share) * values[mix.low] + mix.share * values[mix.high]
    return out
