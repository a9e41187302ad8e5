"""The difficulty that all models share on a query: why their errors come together. Pure functions.

    t ~ N(0, difficulty_sd^2)             how easy the query is, in log-odds, for every model alike
    P(model right | t) = sigmoid(a + t)   the ability a is such that, over all t, P is the model's prior

Source: Rasch, Probabilistic models for some intelligence and attainment tests (1960). Integrals over t are sums over
the nine nodes of a Gauss-Hermite quadrature. A `Curve` holds one value for each node.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

__all__ = [
    "DIFFICULTY_NODES",
    "DIFFICULTY_WEIGHTS",
    "Curve",
    "mean_success_curve",
    "prior_log_odds",
    "scale_ability",
    "shift_prior",
    "sigmoid",
    "success_curve",
]

Curve = tuple[float, ...]
"""A value at each of DIFFICULTY_NODES."""

DIFFICULTY_NODES: Curve = (
    -4.512745863399783, -3.20542900285647, -2.07684797867783, -1.0232556637891326, 0.0,
    1.0232556637891326, 2.07684797867783, 3.20542900285647, 4.512745863399783,
)  # fmt: skip
"""Nodes of a standard normal variable (probabilists' Hermite polynomials), from difficult to easy."""
DIFFICULTY_WEIGHTS: Curve = (
    2.2345844007746607e-05, 0.0027891413212317692, 0.04991640676521782, 0.24409750289493953, 0.40634920634920635,
    0.24409750289493953, 0.04991640676521782, 0.0027891413212317692, 2.2345844007746607e-05,
)  # fmt: skip
"""Probabilities of the nodes."""
MAX_PRIOR = 0.98
LOGISTIC_NORMAL = 0.346
"""(16 sqrt(3) / (15 pi))^2: about as much as a normal's variance widens a logistic one."""
"""No prior counts as more certain than this, or less than its complement."""


def success_curve(prior: float, difficulty_sd: float) -> Curve:
    """Return P(right) at each difficulty, for a model of this prior."""
    return _success_curve(_clip(prior), difficulty_sd)


def scale_ability(difficulty_sd: float) -> float:
    """Return what log-odds of a prior are multiplied by, so that the mean over all queries is about the prior."""
    return math.sqrt(1 + LOGISTIC_NORMAL * difficulty_sd * difficulty_sd)


@lru_cache(maxsize=4096)
def _success_curve(prior: float, difficulty_sd: float) -> Curve:
    """Return the curve whose mean is about the prior (the logistic-normal approximation)."""
    ability = math.log(prior / (1 - prior)) * scale_ability(difficulty_sd)
    return tuple(sigmoid(ability + difficulty_sd * x) for x in DIFFICULTY_NODES)


def mean_success_curve(priors: Sequence[float], difficulty_sd: float) -> Curve:
    """Return the mean of P(right) over models, at each difficulty."""
    curves = [success_curve(p, difficulty_sd) for p in priors]
    return tuple(sum(values) / len(curves) for values in zip(*curves, strict=True))


def prior_log_odds(prior: float) -> float:
    """Return the log-odds of a prior, which is clipped to what counts as certain."""
    p = _clip(prior)
    return math.log(p / (1 - p))


def shift_prior(prior: float, log_odds: float) -> float:
    """Return a prior moved by so many log-odds."""
    return sigmoid(prior_log_odds(prior) + log_odds)


def sigmoid(x: float) -> float:
    """Return the probability of log-odds."""
    return 0.5 * (1.0 + math.tanh(0.5 * x))


def _clip(prior: float) -> float:
    """Clip a prior; four decimals are kept, so that equal priors share a cached curve."""
    return round(min(max(prior, 1 - MAX_PRIOR), MAX_PRIOR), 4)
