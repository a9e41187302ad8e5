"""The fast recipe: a soft task prior, a shrunk residual, a set head; calibrated across folds. Numpy only.

    score of model m on query q = sum over tasks of P(task | q) x mean of m on the task      the prior
                                + how hard q is for everybody                              a light ridge
                                + how m differs there                                      a heavy ridge, of low rank

Every choice is made by cross-validation inside the training records: how hard the ridges shrink, what the calibration
is, which cost trade-off keeps 97 and 99 % of the best single model. What was tried: docs/scorer.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routemoa.scoring.encoder import Encoder
from routemoa.scoring.lexical import rarity
from routemoa.scoring.predictor import Floats, Predictor, features, sigmoid, softmax, to_logit
from routemoa.training.clusters import groups as kinds
from routemoa.training.cost_tradeoff import trade_offs
from routemoa.training.linear import Calibration, Ridge, calibrate, span
from routemoa.training.panels import Panels, panels
from routemoa.training.table import Table

__all__ = ["Fitted", "fit"]

FOLDS = 5
COMMON = (3.0, 10.0, 30.0, 100.0)  # ridge penalties that are tried for what all models share
OWN = (30.0, 100.0, 300.0, 1000.0, float("inf"))  # and for how they differ
RANK = 16  # directions in which models differ, at most
TASK_RIDGE = 1.0
TASK_SHARPNESS = 8.0  # a ridge classifier's outputs are that far from logits
TASK_PRIOR = 10.0  # questions' worth of the overall mean in a task's mean
UNSEEN = 0.2  # standard deviation of a model's means on tasks, beforehand
CLUSTERS = 20  # where the records name a single task
Say = Callable[[str], None]


@dataclass(frozen=True)
class Fitted:
    """A scorer, and what it would have said of each training question had it not seen it.

    Attributes:
        crossed: N x M probabilities.
        panels: N x K, the set head's choice, columns of models.
        costs: N x M, expected dollars of a call, NaN where the records knew none.
        surprise: N, how much better the models did than predicted, on average.
        choices: what was chosen in cross-validation, for the manifest.
    """

    predictor: Predictor
    crossed: Floats
    panels: NDArray[np.intp]
    costs: Floats
    residual: Floats
    choices: dict[str, Any]


def fit(data: Table, seed: int = 0, say: Say = lambda line: None, encoder: Encoder | None = None) -> Fitted:
    """Train on `data`; the folds and clusters follow from `seed`. An `encoder` adds its features; it is not trained."""
    rng = np.random.default_rng(seed)
    idf = rarity(data.texts)
    x = features(data.texts, idf, encoder)
    names, groups = kinds(data.tasks, lambda: x, CLUSTERS, rng)
    say(f"{len(x)} questions, {len(data.models)} models, {len(names)} tasks or clusters")
    crossed = _cross(x, groups, data, len(names), rng, say)
    own, common, calibration = _choose(crossed, data.scores)
    raw = crossed.raw(own, common)
    probabilities = sigmoid(calibration.slope * to_logit(raw) + calibration.shift)
    whole = _Half(x, groups, data, len(names))
    share, weights = whole.ridges((COMMON[common],), (OWN[own],))
    space, loadings = _low_rank(weights[0])
    means = whole.task_means
    center = np.concatenate([whole.likely(x).mean(0), (x @ space).mean(0)])
    spanned = span(x, COMMON[common])
    predictor = Predictor(
        models=data.models,
        tasks=names,
        idf=idf,
        task_weights=whole.task_weights,
        task_bias=whole.task_bias,
        space=space,
        embeddings=np.vstack([means, loadings]).astype(np.float32),
        common=share[0][:, 0],
        center=center.astype(np.float32),
        spread=_spread(means, whole.means, whole.shares),
        directions=spanned.directions,
        strengths=spanned.strengths,
        familiar=spanned.familiar,
        slope=calibration.slope,
        shift=calibration.shift,
        panels=whole.panels.members.astype(np.float32),
        panel_values=whole.panels.values,
        task_costs=whole.task_costs,
        encoder=encoder,
    )
    rates = trade_offs(probabilities, crossed.costs, data, whole.means)
    choices = {"shrink_common": COMMON[common], "shrink_own": str(OWN[own]), "rates": rates}
    surprise = _mean(data.scores - raw)
    return Fitted(predictor, probabilities, crossed.panels, crossed.costs, surprise, choices)


@dataclass(frozen=True)
class _Crossed:
    """Predictions across folds, for every penalty: each made without the question it is for."""

    prior: Floats
    common: Floats  # penalties x N
    own: Floats  # penalties x N x M
    costs: Floats
    panels: NDArray[np.intp]

    def raw(self, own: int, common: int) -> Floats:
        out: Floats = self.prior + self.own[own] + self.common[common][:, None]
        return out


def _cross(  # noqa: PLR0917
    x: Floats, groups: NDArray[np.intp], data: Table, count: int, rng: np.random.Generator, say: Say
) -> _Crossed:
    n, m = data.scores.shape
    folds = rng.permutation(n) % min(FOLDS, n)
    prior, costs = np.zeros((n, m), np.float32), np.full((n, m), np.nan, np.float32)
    common = np.zeros((len(COMMON), n), np.float32)
    own = np.zeros((len(OWN), n, m), np.float32)
    chosen = np.zeros((n, min(3, m)), np.intp)
    for fold in range(folds.max() + 1):
        out = folds == fold
        half = _Half(x[~out], groups[~out], data.rows(np.flatnonzero(~out)), count)
        likely = half.likely(x[out])
        prior[out], costs[out] = likely @ half.task_means, likely @ half.task_costs
        chosen[out] = half.panels.best(likely)
        shares, weights = half.ridges(COMMON, OWN)
        for i, w in enumerate(shares):
            common[i, out] = x[out] @ w[:, 0]
        for i, w in enumerate(weights):
            own[i, out] = x[out] @ w
        say(f"fold {fold + 1} of {folds.max() + 1}")
    return _Crossed(prior, common, own, costs, chosen)


def _choose(crossed: _Crossed, scores: Floats) -> tuple[int, int, Calibration]:
    """Places of the penalties in OWN and COMMON: how models differ is chosen by the accuracy of the first choice (of
    what is within one standard error of the best, the most shrunk), what they share by the log-loss."""
    measured = ~np.isnan(scores)
    filled = np.where(measured, scores, 0.0)
    rows = np.arange(len(scores))
    right = [filled[rows, np.where(measured, crossed.raw(i, 0), -9.0).argmax(1)] for i in range(len(OWN))]
    best = max(range(len(OWN)), key=lambda i: right[i].mean())
    error = [(right[best] - r).std() / np.sqrt(len(scores)) for r in right]
    own = max(i for i in range(len(OWN)) if right[best].mean() - right[i].mean() <= error[i])
    found = [calibrate(crossed.raw(own, i), scores) for i in range(len(COMMON))]
    common = min(range(len(COMMON)), key=lambda i: found[i].loss)
    return own, common, found[common]


class _Half:
    """The prior, the ridges and the panels, fitted on one part of the questions."""

    def __init__(self, x: Floats, groups: NDArray[np.intp], data: Table, count: int) -> None:
        self._ridge, self._x, self._scores = Ridge(x), x, data.scores
        measured = ~np.isnan(data.scores)
        filled = np.where(measured, data.scores, 0.0)
        overall = filled.sum() / max(1, measured.sum())
        self.means = ((filled.sum(0) + overall) / (measured.sum(0) + 1)).astype(np.float32)
        onehot = np.eye(count, dtype=np.float32)[groups]
        self.shares = onehot.mean(0)
        self.task_weights, self.task_bias = _classifier(x, onehot)
        self.task_means = _by_task(onehot, data.scores, self.means)
        self.task_costs = _by_task(onehot, data.costs, _mean(data.costs.T))
        self.panels: Panels = panels(data.scores, onehot, self.task_means)

    def likely(self, x: Floats) -> Floats:
        return softmax(x @ self.task_weights + self.task_bias)

    def ridges(self, common: Sequence[float], own: Sequence[float]) -> tuple[list[Floats], list[Floats]]:
        """What the prior leaves: regressed for all models together, and for how each differs from them."""
        left = self._scores - self.likely(self._x) @ self.task_means
        shared = _mean(left)[:, None]
        return self._ridge.fit_measured(shared, common), self._ridge.fit_measured(left - shared, own)


def _classifier(x: Floats, onehot: Floats) -> tuple[Floats, Floats]:
    """Logits of P(task | query), every task weighed alike: what is unlike all tasks is not taken for the largest."""
    sizes, count = onehot.sum(0), onehot.shape[1]
    root = np.sqrt(len(x) / (count * np.maximum(sizes, 1.0)))[onehot.argmax(1), None].astype(np.float32)
    weights = Ridge(x * root).fit((onehot - 1.0 / count) * root, (TASK_RIDGE,))[0]
    return TASK_SHARPNESS * weights, np.full(count, TASK_SHARPNESS / count, np.float32)


def _by_task(onehot: Floats, values: Floats, means: Floats) -> Floats:
    """Means on each task, T x M, drawn towards the overall `means` where few questions speak."""
    measured = ~np.isnan(values)
    hits, seen = onehot.T @ np.where(measured, values, 0.0), onehot.T @ measured.astype(np.float32)
    out: Floats = ((hits + TASK_PRIOR * means) / (seen + TASK_PRIOR)).astype(np.float32)
    return out


def _mean(values: Floats) -> Floats:
    """Means of rows over what was measured; NaN where nothing was."""
    seen = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        out: Floats = (np.where(seen, values, 0.0).sum(1) / seen.sum(1)).astype(np.float32)
    return out


def _spread(task_means: Floats, means: Floats, shares: Floats) -> Floats:
    """How far a model's means on tasks lie apart; few tasks say little about how far another one may be."""
    apart = np.average(np.square(task_means - means), axis=0, weights=shares)
    out: Floats = np.sqrt(apart + UNSEEN**2 / len(shares)).astype(np.float32)
    return out


def _low_rank(weights: Floats) -> tuple[Floats, Floats]:
    """D x M as (D x R) @ (R x M); R is 0 where there is nothing."""
    left, sizes, right = np.linalg.svd(weights, full_matrices=False)
    rank = int(min(RANK, (sizes > 1e-4 * max(float(sizes[0]), 1e-6)).sum()))
    return left[:, :rank].astype(np.float32), (sizes[:rank, None] * right[:rank]).astype(np.float32)
