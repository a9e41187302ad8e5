"""Fit how much the best model is believed where it stands alone against weaker models that agree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from routemoa.judging.judge_model import JudgeModel
from routemoa.judging.multiple_choice import limit_to_options
from routemoa.judging.posterior import Vote, find_lone_leader, infer
from routemoa.training.judge.graded_panel import GradedPanel

__all__ = ["fit_lone_leader"]

LEADS = (0.0, 0.05, 0.1, 0.2, 0.3)
"""By how much the others' priors are below the leader's in the panels that are drawn from a larger one."""
SIZES = (3, 5)
"""Answers of such a panel."""
RIDGE = 1.0
"""Penalty on the square of the coefficient."""
VALUES = np.linspace(0.0, 4.0, 41)
MAX_PANELS = 2000
"""Panels that are looked at, spread over all."""


class LoneLeader(Struct, frozen=True):
    """A panel whose best model stands alone against answers that agree."""

    log_odds: NDArray[np.float64]
    """G: of each group of answers against all being wrong, as the posterior has them."""
    leader: int
    """The group of the best model."""
    right: NDArray[np.float64]
    """G: how right each group is, in [0, 1]."""
    weight: float
    """Panels of one question weigh 1 together."""

    def loss(self, coefficient: float) -> float:
        """Return the negative log-likelihood of the grades."""
        log_odds = self.log_odds.copy()
        log_odds[self.leader] += coefficient
        rest = np.logaddexp.reduce(np.append(log_odds, 0.0))
        return -self.weight * float(self.right @ log_odds - rest)


def fit_lone_leader(panels: Sequence[GradedPanel], judge_model: JudgeModel) -> float:
    """Return the log-odds to add, at least 0; a ridge draws it to 0, and what was never seen gives 0."""
    step = max(1, len(panels) // MAX_PANELS)
    cases = [case for panel in panels[::step] for case in _find_cases(panel, judge_model)]
    losses = [RIDGE / 2 * value**2 + sum(case.loss(value) for case in cases) for value in VALUES]
    return round(float(VALUES[int(np.argmin(losses))]), 2)


def _find_cases(panel: GradedPanel, judge_model: JudgeModel) -> Iterator[LoneLeader]:
    """Yield the panels with a lone leader that can be drawn from one; a small panel is taken as it is."""
    if not panel.groups.closed or any(right is None for right in panel.right):
        return
    priors = panel.impute_priors()
    drawn = _draw_panels(priors)
    for places in drawn:
        if (case := _build_case(panel, priors, places, judge_model, 1.0 / len(drawn))) is not None:
            yield case


def _draw_panels(priors: Sequence[float]) -> list[list[int]]:
    """Return panels of the best model with the next ones that are so far below it, as places in `priors`."""
    order = sorted(range(len(priors)), key=lambda i: -priors[i])
    if len(order) <= max(SIZES):
        return [order]
    drawn: list[list[int]] = []
    for lead in LEADS:
        below = [i for i in order[1:] if priors[i] <= priors[order[0]] - lead]
        drawn += [[order[0], *below[: size - 1]] for size in SIZES if len(below) >= size - 1]
    return drawn


def _build_case(
    panel: GradedPanel, priors: Sequence[float], places: Sequence[int], judge_model: JudgeModel, weight: float
) -> LoneLeader | None:
    """Return the panel of the models at `places`; None where its best model does not stand alone."""
    number: dict[int, int] = {}
    found = [panel.groups.group_of[i] for i in places]
    groups = [None if g is None else number.setdefault(g, len(number)) for g in found]
    coefficients = judge_model.coefficients
    informed = coefficients.informed_vote
    votes = [
        Vote(panel.models[i], priors[i], g, informed if panel.had_context[i] else 1.0)
        for i, g in zip(places, groups, strict=True)
    ]
    if (leader := find_lone_leader(votes)) is None:
        return None
    correlation = limit_to_options(judge_model.correlation, panel.options)
    vote_coefficient = (
        coefficients.votes if panel.options is None else min(coefficients.votes, coefficients.option_votes)
    )
    probabilities = infer(votes, correlation, vote_coefficient=vote_coefficient).probabilities
    none_right = max(1e-9, 1.0 - sum(probabilities))
    log_odds = np.log(np.maximum(probabilities, 1e-9) / none_right)
    right = np.zeros(len(probabilities))
    for g in range(len(right)):
        right[g] = np.mean([panel.right[i] or 0.0 for i, h in zip(places, groups, strict=True) if h == g])
    return LoneLeader(log_odds, leader, right / max(1.0, right.sum()), weight)
