"""Learn from outcomes how far priors are off: shifts in log-odds, for each member and task of the scorer. Pure.

    logit P(right) = logit(prior) + u + d_m + sum over tasks t of P(t | query) * (v_t + e_mt)
    P(score = 1)   = NOISE + (1 - 2 NOISE) * P(right)
    u, v_t ~ N(0, COMMON_SD^2)      traffic that is harder or easier for all members alike
    d_m    ~ N(0, s^2)              a member that is better or worse than predicted
    e_mt   ~ N(0, (TASK_SHARE s)^2) the same on one task

s is the one of SPREADS under which the outcomes are most likely (Laplace's approximation of the evidence). It is 0
where the scorer is right, so that nothing is learned from chance. A member without a prior gets one
(`unknown_members`).

Source: MacKay, Bayesian interpolation, Neural Computation 4 (1992). The constants were chosen on RouterDC and ulab
(`benchmarks/feedback.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routemoa.core.learned.learned_priors import MAX_SHIFT, LearnedPriors
from routemoa.core.types import Scores
from routemoa.scoring.learned import EDGE
from routemoa.scoring.predictor import sigmoid
from routemoa.training.unknown_members import GradedAnswer, fit_unknown

__all__ = ["MAX_MEMBER_SCORES", "NOISE", "SPREADS", "TaughtQuery", "fit_common", "fit_priors"]

MAX_MEMBER_SCORES = 400
"""The latest scores of a member that count, so that a change is learned."""
NOISE = 0.1
"""The share of feedback that is taken to be wrong."""
SPREADS = (0.0, 0.1, 0.25, 0.5, 1.0)
COMMON_SD = 0.1
TASK_SHARE = 0.7
MIN_MASS = 3.0
"""Outcomes on a task, each as far as it is of it, from which on a member has a shift there."""
STEPS = 30
"""Of Newton's method, at most."""
CLOSE = 1e-5

Doubles = NDArray[np.float64]


class TaughtQuery:
    """A query, what was predicted of its members, and how well they did.

    Args:
        prior: the scorer's own prediction of each member, in [0, 1], with what the panel's other answers added to it
            where the score is of an answer that was chosen from several.
        scores: of each member's answer, in [0, 1]; None is unknown.
        tasks: P(task | query) of the scorer's tasks; empty where it has none.
    """

    def __init__(
        self, prior: Scores, scores: Mapping[str, float | None], tasks: Mapping[str, float] | None = None
    ) -> None:
        self.prior, self.scores, self.tasks = prior, scores, tasks or {}


@dataclass(frozen=True)
class _Labels:
    """Scores of members whose prior is known, the latest of each. Sizes: N labels, M members, T tasks."""

    members: tuple[str, ...]
    tasks: tuple[str, ...]
    member: NDArray[np.intp]
    """N."""
    offset: Doubles
    """N: log-odds of the prior."""
    score: Doubles
    """N."""
    shares: Doubles
    """N x T: P(task | query)."""


@dataclass(frozen=True)
class _Fit:
    """The most probable shifts under one spread, and how well they explain the scores."""

    evidence: float
    common: float
    common_of_task: Doubles
    """T."""
    of_member: Doubles
    """M."""
    of_task: Doubles
    """M x T."""


def fit_priors(queries: Sequence[TaughtQuery]) -> LearnedPriors:
    """Return the corrections that outcomes teach, the oldest first; none where the scorer is right as it is."""
    labels = _collect(queries)
    learned = _list_without_prior(queries)
    if not len(labels.score):
        return LearnedPriors(prior=learned)
    best = max((_fit(labels, spread) for spread in SPREADS), key=lambda fit: fit.evidence)
    return _describe(labels, best, learned)


def fit_common(queries: Sequence[TaughtQuery]) -> LearnedPriors:
    """Return only what holds for all members alike, which changes no choice."""
    labels = _collect(queries)
    return LearnedPriors() if not len(labels.score) else _describe(labels, _fit(labels, 0.0), {})


def _describe(labels: _Labels, fit: _Fit, prior: dict[str, float]) -> LearnedPriors:
    """Return a fit as it is written down; every member has the common shift, whether it was scored or not."""
    shift = {m: _round(fit.common + fit.of_member[i]) for i, m in enumerate(labels.members)}
    together = fit.common_of_task + fit.of_task
    of_task = {
        m: kept
        for i, m in enumerate(labels.members)
        if (kept := {t: _round(together[i, j]) for j, t in enumerate(labels.tasks) if abs(together[i, j]) >= 5e-4})
    }
    return LearnedPriors(shift, prior, of_task)


def _collect(queries: Sequence[TaughtQuery]) -> _Labels:
    """Return the labels of members with a prior, the latest MAX_MEMBER_SCORES of each."""
    members = tuple(dict.fromkeys(m for q in queries for m, p in q.prior.items() if p is not None))
    tasks = tuple(dict.fromkeys(t for q in queries for t in q.tasks))
    place = {m: i for i, m in enumerate(members)}
    left = dict.fromkeys(members, MAX_MEMBER_SCORES)
    member, offset, score, shares = list[int](), list[float](), list[float](), list[list[float]]()
    for query in reversed(queries):
        row = [query.tasks.get(t, 0.0) for t in tasks]
        for model, value in query.scores.items():
            predicted = query.prior.get(model)
            if value is None or predicted is None or not left[model]:
                continue
            left[model] -= 1
            held = min(max(predicted, EDGE), 1.0 - EDGE)
            member.append(place[model])
            offset.append(float(np.log(held / (1.0 - held))))
            score.append(value)
            shares.append(row)
    table = np.array(shares, np.float64).reshape(len(score), len(tasks))
    return _Labels(members, tasks, np.array(member, np.intp), np.array(offset), np.array(score), table)


def _fit(labels: _Labels, spread: float) -> _Fit:
    """Return the most probable shifts by Newton's method, and the evidence for `spread`."""
    n, m, t = len(labels.score), len(labels.members), len(labels.tasks)
    own = np.eye(m)[labels.member]
    common = np.flatnonzero(labels.shares.sum(0) >= MIN_MASS)
    both = (own[:, :, None] * labels.shares[:, None, :]).reshape(n, m * t)
    tasks = np.flatnonzero(both.sum(0) >= MIN_MASS)
    parts = [(np.ones((n, 1)), COMMON_SD), (labels.shares[:, common], COMMON_SD)]
    if spread:
        parts += [(own, spread), (both[:, tasks], TASK_SHARE * spread)]
    design = np.hstack([part for part, _ in parts])
    precision = np.concatenate([np.full(part.shape[1], sd**-2) for part, sd in parts])
    weights, evidence = _maximize(design, labels, precision)
    ends = np.cumsum([part.shape[1] for part, _ in parts])
    pieces = [*np.split(weights, ends[:-1]), np.zeros(m), np.zeros(len(tasks))][:4]
    common_of_task, of_task = np.zeros(t), np.zeros(m * t)
    common_of_task[common], of_task[tasks] = pieces[1], pieces[3]
    return _Fit(evidence, float(pieces[0][0]), common_of_task, pieces[2], of_task.reshape(m, t))


def _maximize(design: Doubles, labels: _Labels, precision: Doubles) -> tuple[Doubles, float]:
    """Return the most probable weights, and the log evidence by Laplace's approximation."""
    weights = np.zeros(design.shape[1])
    score, scale = labels.score, 1.0 - 2.0 * NOISE
    hessian = np.diag(precision)
    for _ in range(STEPS):
        right = sigmoid(labels.offset + design @ weights)
        seen = NOISE + scale * right
        slope = scale * right * (1.0 - right)
        gradient = design.T @ ((score - seen) * slope / (seen * (1.0 - seen))) - precision * weights
        hessian = (design * (slope**2 / (seen * (1.0 - seen)))[:, None]).T @ design + np.diag(precision)
        step = np.linalg.solve(hessian, gradient)
        weights += np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < CLOSE:
            break
    seen = NOISE + scale * sigmoid(labels.offset + design @ weights)
    likelihood = float((score * np.log(seen) + (1.0 - score) * np.log(1.0 - seen)).sum())
    volume = float(np.linalg.slogdet(hessian)[1] - np.log(precision).sum())
    return weights, likelihood - 0.5 * float(precision @ weights**2) - 0.5 * volume


def _round(shift: float) -> float:
    return round(float(min(max(shift, -MAX_SHIFT), MAX_SHIFT)), 4)


def _list_without_prior(queries: Sequence[TaughtQuery]) -> dict[str, float]:
    """Return P(right) of members without a prior, from the latest MAX_MEMBER_SCORES scores of each member."""
    taken: Counter[str] = Counter()
    answers: list[GradedAnswer] = []
    for i, query in reversed(list(enumerate(queries))):
        for model, score in query.scores.items():
            if score is not None and model in query.prior and taken[model] < MAX_MEMBER_SCORES:
                taken[model] += 1
                answers.append(GradedAnswer(i, model, score, query.prior[model]))
    return fit_unknown(answers, NOISE)
