"""The plans that tuning chooses among, and what each would have reached on every question of the records.

A plan is one model, a choice by estimates and price, or a panel that is asked from cheap to dear while answers differ.
Few are tried: of many, the best on the records is best by luck.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from routemoa.core.learned.tuned_policy import TunedPlan
from routemoa.scoring.predictor import Floats

__all__ = ["TuningData", "list_plans", "run_plan"]

CHEAP_SHARE = 0.5
"""A model is cheap where its mean cost is below this share of the best single model's."""
CHEAP_MODELS = 4
"""The most accurate cheap models are asked early in panels."""
LAST_MODELS = 3
"""The most accurate models are asked last."""
RATES = np.concatenate([[0.0], np.geomspace(1e-3, 10.0, 60)])
"""Probability of a right answer for the cost of one call of the best single model."""


@dataclass(frozen=True)
class TuningData:
    """What was measured: N questions, M models, each measured on every question."""

    models: tuple[str, ...]
    scores: Floats
    """N x M, in [0, 1]."""
    costs: Floats
    """N x M, as shares of the best single model's mean cost."""
    answers: NDArray[np.intp] | None
    """N x M: the group of equal answers, -1 where an answer states nothing; None where no texts are recorded."""
    estimates: Floats | None
    """N x M: a scorer's P(right), made without the question; None without a scorer."""

    @property
    def best_single(self) -> int:
        """The column of the most accurate model."""
        return int(self.scores.mean(0).argmax())

    def select_rows(self, rows: NDArray[np.intp]) -> TuningData:
        """Return these questions."""
        return TuningData(
            self.models,
            self.scores[rows],
            self.costs[rows],
            None if self.answers is None else self.answers[rows],
            None if self.estimates is None else self.estimates[rows],
        )


def list_plans(data: TuningData) -> Iterator[TunedPlan]:
    """Yield the plans to choose among, by what models reach and cost on these questions."""
    for model in data.models:
        yield TunedPlan(order=(model,))
    if data.estimates is not None:
        for rate in RATES:
            yield TunedPlan(rate=float(rate))
    if data.answers is not None:
        yield from _list_panels(data)


def run_plan(plan: TunedPlan, data: TuningData, mean_costs: Floats) -> tuple[Floats, Floats]:
    """Return the score of the answer and the cost of all calls for each question, N and N.

    `mean_costs`, M, are what a rate goes by; what is paid is what each call cost.
    """
    rows = np.arange(len(data.scores))
    if plan.rate is not None:
        if data.estimates is None:
            raise ValueError("a plan with a rate needs estimates")
        chosen = (data.estimates - plan.rate * mean_costs).argmax(axis=1)
        return data.scores[rows, chosen], data.costs[rows, chosen]
    order = [data.models.index(m) for m in plan.order]
    if len(order) == 1:
        return data.scores[:, order[0]], data.costs[:, order[0]]
    return _run_panel(data, order, plan.agree)


def _list_panels(data: TuningData) -> Iterator[TunedPlan]:
    """Yield panels: pairs and triples of cheap models, or of the best ones, then one of the best."""
    accuracy, costs = data.scores.mean(0), data.costs.mean(0)
    by_accuracy = [int(j) for j in np.argsort(-accuracy, kind="stable")]
    cheap = [j for j in by_accuracy if costs[j] < CHEAP_SHARE * costs[by_accuracy[0]]][:CHEAP_MODELS]
    best = by_accuracy[:LAST_MODELS]
    seen: set[tuple[tuple[int, ...], int]] = set()
    for early in (cheap, by_accuracy[: LAST_MODELS + 1]):
        ordered = sorted(early, key=lambda j: (float(costs[j]), j))
        for size, agree in ((2, 2), (3, 2), (3, 3)):
            for members in combinations(ordered, size):
                for last in best:
                    key = ((*members, last), agree)
                    if last not in members and key not in seen:
                        seen.add(key)
                        yield TunedPlan(order=tuple(data.models[j] for j in key[0]), agree=agree)


def _run_panel(data: TuningData, order: list[int], agree: int) -> tuple[Floats, Floats]:
    """Ask as `routing.tuned` does, on all questions at once."""
    if data.answers is None:
        raise ValueError("a panel needs recorded answers")
    *early, last = order
    scores, costs = data.scores[:, last].copy(), data.costs[:, early[0]] + data.costs[:, early[1]]
    agreed = np.zeros(len(scores), bool)
    for asked in range(2, len(early) + 1):
        groups = data.answers[:, early[:asked]]
        counts = np.where(groups >= 0, (groups[:, :, None] == groups[:, None, :]).sum(2), 0)
        is_new = ~agreed & (counts.max(1) >= agree)
        first = (counts >= agree).argmax(1)  # of the agreeing ones the first asked
        scores[is_new] = data.scores[is_new, np.array(early)[first[is_new]]]
        agreed |= is_new
        if asked < len(early):
            goes_on = ~agreed & (counts.max(1) + len(early) - asked >= agree)
            costs = costs + np.where(goes_on, data.costs[:, early[asked]], 0.0)
    return scores, costs + np.where(agreed, 0.0, data.costs[:, last])
