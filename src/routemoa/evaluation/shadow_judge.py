"""Compare two judge models on outcomes that the new one was not fitted on: which shows truer probabilities. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from msgspec import Struct

from routemoa.core.types import Scores
from routemoa.evaluation.shadow import MIN_COMPARED
from routemoa.evaluation.statistics import MeanInterval, bootstrap_interval, gain_interval

__all__ = ["JudgeShadow", "ShadowedPanel", "compare_judges"]


class ShadowedPanel(Struct, frozen=True):
    """What feedback says of a panel's answers, and what two judge models made of them."""

    scores: Scores
    before: Mapping[str, float]
    after: Mapping[str, float]
    choice_before: str | None
    choice_after: str | None


class JudgeShadow(Struct, frozen=True):
    """How a new judge model does beside the old one; intervals are 95 % bootstrap over outcomes."""

    outcomes: int
    loss: MeanInterval | None
    """By how much the log-loss of the shown probabilities falls; None without any."""
    accuracy: MeanInterval | None
    """Mean score of the new choice minus the old one's; a new choice of which nothing is known counts as wrong."""
    better: bool
    """The loss falls with its whole interval, and the choice is no worse."""


def compare_judges(panels: Sequence[ShadowedPanel], noise: float, seed: int = 0) -> JudgeShadow:
    """Return how the new judge model does beside the old one; `noise` is the share of feedback taken to be wrong."""
    losses = [fall for panel in panels if (fall := _loss_gain(panel, noise)) is not None]
    gains = [rise for panel in panels if (rise := _choice_gain(panel)) is not None]
    loss = bootstrap_interval(losses, seed) if losses else None
    accuracy = gain_interval(gains, seed) if gains else None
    is_better = len(losses) >= MIN_COMPARED and loss is not None and loss.low > 0
    return JudgeShadow(len(losses), loss, accuracy, is_better and (accuracy is None or accuracy.mean >= 0))


def _loss_gain(panel: ShadowedPanel, noise: float) -> float | None:
    gains = [
        _loss(panel.before[m], s, noise) - _loss(panel.after[m], s, noise)
        for m, s in panel.scores.items()
        if s is not None and m in panel.before and m in panel.after
    ]
    return sum(gains) / len(gains) if gains else None


def _loss(probability: float, score: float, noise: float) -> float:
    said = noise + (1.0 - 2.0 * noise) * probability
    return -score * math.log(said) - (1.0 - score) * math.log(1.0 - said)


def _choice_gain(panel: ShadowedPanel) -> float | None:
    old = panel.scores.get(panel.choice_before or "")
    if panel.choice_before == panel.choice_after:
        return None if old is None else 0.0
    new = panel.scores.get(panel.choice_after or "")
    return None if old is None else (new or 0.0) - old
