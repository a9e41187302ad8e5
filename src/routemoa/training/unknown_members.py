"""Learn how good members are that nothing is known of, from outcomes of those that were asked. Pure.

    logit P(right | t) = c * logit(prior) + D * t       t ~ N(0, 1): how easy the query is for all members alike
    P(score = 1 | t)   = NOISE + (1 - 2 NOISE) * P(right | t)
    logit(prior of m)  ~ N(mean of the members, s^2)

Further members are asked where the first ones differ, so of hard queries: by their mean scores they look worse than
they are, and those that are always asked look better. The scores of one query together say how hard it was (Rasch), and
what is left is the member's own. c makes the prior the mean over all t, as in `judging.difficulty`. D is the one of
DIFFICULTIES under which the outcomes are most likely; s is fitted (empirical Bayes), so that few outcomes, or members
that are alike, leave them near the mean.

Sources: Rasch, Probabilistic models for some intelligence and attainment tests (1960); Bock & Aitkin, Psychometrika 46
(1981), for the fit by expectation and maximization.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routemoa.judging.difficulty import DIFFICULTY_NODES, DIFFICULTY_WEIGHTS, scale_ability
from routemoa.scoring.predictor import sigmoid

__all__ = ["GradedAnswer", "fit_unknown"]

DIFFICULTIES = (0.0, 1.0, 2.0, 3.0, 4.0)
"""Standard deviations of the difficulty of queries, in log-odds."""
START_SPREAD, MIN_SPREAD = 0.65, 0.1
"""Standard deviations of members, in log-odds: about what ten outcomes say, and the least."""
LEAST = 0.01
"""How far from 0 and 1 a prior is that only outcomes give."""
STEPS = 60
CLOSE = 1e-3
"""Steps at most, and the step, in log-odds, below which they end."""

Doubles = NDArray[np.float64]
NODES, LOG_WEIGHTS = np.array(DIFFICULTY_NODES), np.log(DIFFICULTY_WEIGHTS)


@dataclass(frozen=True)
class GradedAnswer:
    """A score in [0, 1] of a member's answer to a query, and the member's prior; None where that is to be learned."""

    query: int
    member: str
    score: float
    prior: float | None


@dataclass(frozen=True)
class _Answers:
    """Answers as arrays. Sizes: N answers, Q queries, M members without a prior."""

    query: NDArray[np.intp]
    """N."""
    own: Doubles
    """N x M: 1 where the answer is of the member."""
    offset: Doubles
    """N: log-odds of a known prior; 0 for members without one."""
    score: Doubles
    """N."""
    queries: int


def fit_unknown(answers: Sequence[GradedAnswer], noise: float) -> dict[str, float]:
    """Return the priors, in (0, 1), of the members that have none; `noise` is the share of scores that are wrong."""
    members = tuple(dict.fromkeys(a.member for a in answers if a.prior is None))
    if not members:
        return {}
    table = _tabulate(answers, members)
    fits = [_fit(table, sd, noise) for sd in DIFFICULTIES]
    best = max(fits, key=lambda fit: fit[1])[0]
    return {m: round(float(p), 4) for m, p in zip(members, np.clip(sigmoid(best), LEAST, 1.0 - LEAST), strict=True)}


def _tabulate(answers: Sequence[GradedAnswer], members: Sequence[str]) -> _Answers:
    place = {m: i for i, m in enumerate(members)}
    queries: Mapping[int, int] = {q: i for i, q in enumerate(dict.fromkeys(a.query for a in answers))}
    own, offset = np.zeros((len(answers), len(members))), np.zeros(len(answers))
    for i, answer in enumerate(answers):
        if answer.prior is None:
            own[i, place[answer.member]] = 1.0
        else:
            held = min(max(answer.prior, LEAST), 1.0 - LEAST)
            offset[i] = np.log(held / (1.0 - held))
    query = np.array([queries[a.query] for a in answers], np.intp)
    return _Answers(query, own, offset, np.array([a.score for a in answers]), len(queries))


def _fit(table: _Answers, difficulty_sd: float, noise: float) -> tuple[Doubles, float]:
    """Return the most probable log-odds of the members' priors, and the log-likelihood of the scores."""
    slope_of_prior, scale = scale_ability(difficulty_sd), 1.0 - 2.0 * noise
    mean = np.clip((table.score.mean() - noise) / scale, 0.05, 0.95)
    level = np.full(table.own.shape[1], np.log(mean / (1.0 - mean)))
    variance, likelihood, score = START_SPREAD**2, 0.0, table.score[:, None]
    for _ in range(STEPS):
        ability = slope_of_prior * (table.offset + table.own @ level)
        right = sigmoid(ability[:, None] + difficulty_sd * NODES)
        seen = noise + scale * right
        weights, likelihood = _weigh_difficulties(table, score * np.log(seen) + (1.0 - score) * np.log(1.0 - seen))
        change = scale * right * (1.0 - right) * slope_of_prior
        pull = (weights * (score - seen) * change / (seen * (1.0 - seen))).sum(1) @ table.own
        precision = (weights * change**2 / (seen * (1.0 - seen))).sum(1) @ table.own + 1.0 / variance
        step = (pull - (level - level.mean()) / variance) / precision
        level = level + np.clip(step, -1.0, 1.0)
        variance = max(_find_variance(level, precision), MIN_SPREAD**2)
        if np.abs(step).max() < CLOSE:
            break
    return level, likelihood


def _weigh_difficulties(table: _Answers, log_likelihood: Doubles) -> tuple[Doubles, float]:
    """Return P(difficulty | scores of its query) for each answer, N x K, and the log-likelihood of all scores."""
    joint = np.tile(LOG_WEIGHTS, (table.queries, 1))
    np.add.at(joint, table.query, log_likelihood)
    top = joint.max(axis=1, keepdims=True)
    total = np.log(np.exp(joint - top).sum(axis=1, keepdims=True)) + top
    return np.exp(joint - total)[table.query], float(total.sum())


def _find_variance(level: Doubles, precision: Doubles) -> float:
    """Return the variance of members that is most likely: that of their levels and of what is unknown of each."""
    if len(level) < 2:
        return START_SPREAD**2
    return float(((level - level.mean()) ** 2).sum() / (len(level) - 1) + (1.0 / precision).mean())
