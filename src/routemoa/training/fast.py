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
from routemoa.scoring.lexical import count_idf
from routemoa.scoring.predictor import Floats, Predictor, embed_texts, sigmoid, softmax, to_logit
from routemoa.training.clusters import group_questions as kinds
from routemoa.training.cost_tradeoff import choose_cost_rates
from routemoa.training.linear import Calibration, Ridge, fit_calibration, fit_span
from routemoa.training.panels import Panels, build_panels
from routemoa.training.table import Table

__all__ = ["FittedScorer", "train_fast"]

FOLDS = 5
COMMON_PENALTIES = (3.0, 10.0, 30.0, 100.0)  # ridge penalties that are tried for what all models share
OWN_PENALTIES = (30.0, 100.0, 300.0, 1000.0, float("inf"))  # and for how they differ
MAX_RANK = 16  # directions in which models differ, at most
TASK_PENALTY = 1.0
TASK_SHARPNESS = 8.0  # a ridge classifier's outputs are that far from logits
TASK_PRIOR_QUESTIONS = 10.0  # questions' worth of the overall mean in a task's mean
TASK_MEAN_SD = 0.2  # standard deviation of a model's means on tasks, beforehand
CLUSTERS = 20  # where the records name a single task
Say = Callable[[str], None]


@dataclass(frozen=True)
class FittedScorer:
    """A scorer, and what it would have said of each training question had it not seen it.

    Attributes:
        crossed: N x M probabilities.
        panels: N x K, the set head's choice, columns of models.
        costs: N x M, expected dollars of a call, NaN where the records knew none.
        surprise: N, how much better the models did than predicted, on average.
        choices: what was chosen in cross-validation, for the manifest.
    """

    predictor: Predictor
    cross_fitted: Floats
    panels: NDArray[np.intp]
    costs: Floats
    residual: Floats
    choices: dict[str, Any]


def train_fast(data: Table, seed: int = 0, report: Say = lambda line: None, encoder: Encoder | None = None) -> FittedScorer:
    """Train on `data`; the folds and clusters follow from `seed`. An `encoder` adds its features; it is not trained."""
    rng = np.random.default_rng(seed)
    idf = count_idf(data.texts)
    x = embed_texts(data.texts, idf, encoder)
    names, groups = kinds(data.tasks, lambda: x, CLUSTERS, rng)
    report(f"{len(x)} questions, {len(data.models)} models, {len(names)} tasks or clusters")
    crossed = _cross_fit(x, groups, data, len(names), rng, report)
    own, common, calibration = _choose_penalties(crossed, data.scores)
    raw = crossed.raw(own, common)
    probabilities = sigmoid(calibration.slope * to_logit(raw) + calibration.shift)
    whole = _FoldModel(x, groups, data, len(names))
    share, weights = whole.fit_ridges((COMMON_PENALTIES[common],), (OWN_PENALTIES[own],))
    space, loadings = _factorize(weights[0])
    means = whole.task_means
    center = np.concatenate([whole.classify_tasks(x).mean(0), (x @ space).mean(0)])
    spanned = fit_span(x, COMMON_PENALTIES[common])
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
        spread=_measure_spread(means, whole.means, whole.shares),
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
    rates = choose_cost_rates(probabilities, crossed.costs, data, whole.means)
    choices = {"shrink_common": COMMON_PENALTIES[common], "shrink_own": str(OWN_PENALTIES[own]), "rates": rates}
    surprise = _average_rows(data.scores - raw)
    return FittedScorer(predictor, probabilities, crossed.panels, crossed.costs, surprise, choices)


@dataclass(frozen=True)
class _CrossFit:
    """Predictions across folds, for every penalty: each made without the question it is for."""

    prior: Floats
    common: Floats  # penalties x N
    own: Floats  # penalties x N x M
    costs: Floats
    panels: NDArray[np.intp]

    def raw(self, own: int, common: int) -> Floats:
        out: Floats = self.prior + self.own[own] + self.common[common][:, None]
        return out


def _cross_fit(  # noqa: PLR0917
    x: Floats, groups: NDArray[np.intp], data: Table, count: int, rng: np.random.Generator, say: Say
) -> _CrossFit:
    n, m = data.scores.shape
    folds = rng.permutation(n) % min(FOLDS, n)
    prior, costs = np.zeros((n, m), np.float32), np.full((n, m), np.nan, np.float32)
    common = np.zeros((len(COMMON_PENALTIES), n), np.float32)
    own = np.zeros((len(OWN_PENALTIES), n, m), np.float32)
    chosen = np.zeros((n, min(3, m)), np.intp)
    for fold in range(folds.max() + 1):
        out = folds == fold
        half = _FoldModel(x[~out], groups[~out], data.select_rows(np.flatnonzero(~out)), count)
        likely = half.classify_tasks(x[out])
        prior[out], costs[out] = likely @ half.task_means, likely @ half.task_costs
        chosen[out] = half.panels.choose_best(likely)
        shares, weights = half.fit_ridges(COMMON_PENALTIES, OWN_PENALTIES)
        for i, w in enumerate(shares):
            common[i, out] = x[out] @ w[:, 0]
        for i, w in enumerate(weights):
            own[i, out] = x[out] @ w
        say(f"fold {fold + 1} of {folds.max() + 1}")
    return _CrossFit(prior, common, own, costs, chosen)


def _choose_penalties(crossed: _CrossFit, scores: Floats) -> tuple[int, int, Calibration]:
    """Places of the penalties in OWN and COMMON: how models differ is chosen by the accuracy of the first choice (of
    what is within one standard error of the best, the most shrunk), what they share by the log-loss."""
    measured = ~np.isnan(scores)
    filled = np.where(measured, scores, 0.0)
    rows = np.arange(len(scores))
    right = [filled[rows, np.where(measured, crossed.raw(i, 0), -9.0).argmax(1)] for i in range(len(OWN_PENALTIES))]
    best = max(range(len(OWN_PENALTIES)), key=lambda i: right[i].mean())
    error = [(right[best] - r).std() / np.sqrt(len(scores)) for r in right]
    own = max(i for i in range(len(OWN_PENALTIES)) if right[best].mean() - right[i].mean() <= error[i])
    found = [fit_calibration(crossed.raw(own, i), scores) for i in range(len(COMMON_PENALTIES))]
    common = min(range(len(COMMON_PENALTIES)), key=lambda i: found[i].loss)
    return own, common, found[common]


class _FoldModel:
    """The prior, the ridges and the panels, fitted on one part of the questions."""

    def __init__(self, x: Floats, groups: NDArray[np.intp], data: Table, count: int) -> None:
        self._ridge, self._x, self._scores = Ridge(x), x, data.scores
        measured = ~np.isnan(data.scores)
        filled = np.where(measured, data.scores, 0.0)
        overall = filled.sum() / max(1, measured.sum())
        self.means = ((filled.sum(0) + overall) / (measured.sum(0) + 1)).astype(np.float32)
        onehot = np.eye(count, dtype=np.float32)[groups]
        self.shares = onehot.mean(0)
        self.task_weights, self.task_bias = _fit_task_classifier(x, onehot)
        self.task_means = _shrink_task_means(onehot, data.scores, self.means)
        self.task_costs = _shrink_task_means(onehot, data.costs, _average_rows(data.costs.T))
        self.panels: Panels = build_panels(data.scores, onehot, self.task_means)

    def classify_tasks(self, x: Floats) -> Floats:
        return softmax(x @ self.task_weights + self.task_bias)

    def fit_ridges(self, common: Sequence[float], own: Sequence[float]) -> tuple[list[Floats], list[Floats]]:
        """What the prior leaves: regressed for all models together, and for how each differs from them."""
        left = self._scores - self.classify_tasks(self._x) @ self.task_means
        shared = _average_rows(left)[:, None]
        return self._ridge.fit_masked(shared, common), self._ridge.fit_masked(left - shared, own)


def _fit_task_classifier(x: Floats, onehot: Floats) -> tuple[Floats, Floats]:
    """Logits of P(task | query), every task weighed alike: what is unlike all tasks is not taken for the largest."""
    sizes, count = onehot.sum(0), onehot.shape[1]
    root = np.sqrt(len(x) / (count * np.maximum(sizes, 1.0)))[onehot.argmax(1), None].astype(np.float32)
    weights = Ridge(x * root).fit((onehot - 1.0 / count) * root, (TASK_PENALTY,))[0]
    return TASK_SHARPNESS * weights, np.full(count, TASK_SHARPNESS / count, np.float32)


def _shrink_task_means(onehot: Floats, values: Floats, means: Floats) -> Floats:
    """Means on each task, T x M, drawn towards the overall `means` where few questions speak."""
    measured = ~np.isnan(values)
    hits, seen = onehot.T @ np.where(measured, values, 0.0), onehot.T @ measured.astype(np.float32)
    out: Floats = ((hits + TASK_PRIOR_QUESTIONS * means) / (seen + TASK_PRIOR_QUESTIONS)).astype(np.float32)
    return out


def _average_rows(values: Floats) -> Floats:
    """Means of rows over what was measured; NaN where nothing was."""
    seen = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        out: Floats = (np.where(seen, values, 0.0).sum(1) / seen.sum(1)).astype(np.float32)
    return out


def _measure_spread(task_means: Floats, means: Floats, shares: Floats) -> Floats:
    """How far a model's means on tasks lie apart; few tasks say little about how far another one may be."""
    apart = np.average(np.square(task_means - means), axis=0, weights=shares)
    out: Floats = np.sqrt(apart + TASK_MEAN_SD**2 / len(shares)).astype(np.float32)
    return out


def _factorize(weights: Floats) -> tuple[Floats, Floats]:
    """D x M as (D x R) @ (R x M); R is 0 where there is nothing."""
    left, sizes, right = np.linalg.svd(weights, full_matrices=False)
    rank = int(min(MAX_RANK, (sizes > 1e-4 * max(float(sizes[0]), 1e-6)).sum()))
    return left[:, :rank].astype(np.float32), (sizes[:rank, None] * right[:rank]).astype(np.float32)
