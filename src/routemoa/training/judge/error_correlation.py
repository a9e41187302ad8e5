"""Fit how models' errors come together: by difficulty, by popular errors, and beyond both for pairs of models."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from routemoa.judging.difficulty import DIFFICULTY_NODES, DIFFICULTY_WEIGHTS, scale_ability
from routemoa.judging.posterior import ErrorCorrelation
from routemoa.training.judge.graded_panel import GradedPanel

__all__ = ["fit_error_correlation"]

DIFFICULTY_SDS = tuple(np.arange(0.0, 3.51, 0.25))
"""The standard deviations of difficulty, in log-odds, that are tried."""
PRIOR_COINCIDENCE = 1.0 / 6.0
"""The usual rate at which two wrong answers coincide: an error concentration of 5."""
PRIOR_PAIRS = 5.0
"""Its weight, in pairs of wrong answers."""
MIN_SHARED_ERRORS = 30
"""Questions that both models of a pair answered wrong, at least, to learn their correlation from."""
FEW_PANELS = 200
"""Below this many panels the standard deviation of difficulty is drawn towards its default."""

Coincidences = dict[tuple[str, str], list[bool]]
"""Pair of models, in order -> for each query that both answered wrong, whether they gave the same answer."""


def fit_error_correlation(panels: Sequence[GradedPanel]) -> ErrorCorrelation:
    """Fit the spread of difficulty by maximum likelihood, the rest by how often wrong answers coincide."""
    difficulty_sd = _fit_difficulty_sd(panels)
    pairs = _collect_coincidences(panels)
    same, total = sum(sum(together) for together in pairs.values()), sum(map(len, pairs.values()))
    rate = (same + PRIOR_PAIRS * PRIOR_COINCIDENCE) / (total + PRIOR_PAIRS)
    concentration = float(np.clip((1 - rate) / max(rate, 1e-6), 0.5, 50.0))
    return ErrorCorrelation(round(difficulty_sd, 3), round(concentration, 3), _fit_pairs(pairs, rate))


def _collect_coincidences(panels: Sequence[GradedPanel]) -> Coincidences:
    pairs: Coincidences = {}
    for panel in panels:
        if not panel.groups.closed:
            continue
        wrong = [
            (model, group)
            for model, group, right in zip(panel.models, panel.groups.group_of, panel.right, strict=True)
            if group is not None and right == 0.0
        ]
        for (a, group_a), (b, group_b) in combinations(wrong, 2):
            pairs.setdefault((a, b) if a < b else (b, a), []).append(group_a == group_b)
    return pairs


def _fit_pairs(pairs: Coincidences, rate: float) -> dict[str, float]:
    """Return the correlation of the pairs ("a|b") whose wrong answers coincide significantly more often than `rate`."""
    correlations: dict[str, float] = {}
    for (a, b), together in sorted(pairs.items()):
        excess = (sum(together) - rate * len(together)) / (len(together) + MIN_SHARED_ERRORS) / (1 - rate)
        error = np.sqrt(rate * (1 - rate) * len(together)) / (len(together) + MIN_SHARED_ERRORS) / (1 - rate)
        if len(together) >= MIN_SHARED_ERRORS and excess > max(0.1, 3 * error):
            correlations[f"{a}|{b}"] = round(float(min(excess, 1.0)), 3)
    return correlations


def _fit_difficulty_sd(panels: Sequence[GradedPanel]) -> float:
    """Return the standard deviation of difficulty, in log-odds, under which the grades are most likely."""
    nodes, log_weights = np.array(DIFFICULTY_NODES), np.log(np.array(DIFFICULTY_WEIGHTS))
    default = ErrorCorrelation().difficulty_sd
    best, chosen = -np.inf, default
    for difficulty_sd in DIFFICULTY_SDS:
        total = -2.0 * (difficulty_sd - default) ** 2 if len(panels) < FEW_PANELS else 0.0
        for panel in panels:
            graded = [(p, y) for p, y in zip(panel.impute_priors(), panel.right, strict=True) if y is not None]
            if len(graded) < 2:
                continue
            p = np.clip(np.array([prior for prior, _ in graded]), 0.02, 0.98)
            y = np.array([right for _, right in graded])
            ability = np.log(p / (1 - p)) * scale_ability(difficulty_sd)
            logit = ability[:, None] + difficulty_sd * nodes
            log_likelihoods = log_weights + (y[:, None] * logit - np.logaddexp(0, logit)).sum(0)
            total += float(np.logaddexp.reduce(log_likelihoods))
        if total > best:
            best, chosen = total, float(difficulty_sd)
    return chosen
