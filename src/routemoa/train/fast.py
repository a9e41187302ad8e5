"""The fast recipe: a soft task prior plus a heavily shrunk residual on lexical features, calibrated across folds.

What it is built on: shared study of scorers (docs/scorer.md). Every choice is made by cross-validation inside the
training records.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routemoa.lexical import embed, rarity
from routemoa.records import Record
from routemoa.trained import Floats, Predictor, sigmoid, softmax, to_logit

__all__ = ["Fitted", "Table", "fit", "table"]

FOLDS = 5
SHRINKS = (10.0, 30.0, 100.0, 1000.0)  # ridge penalties of the residual that are tried
TASK_RIDGE = 1.0
TASK_SHARPNESS = 8.0  # a ridge classifier's outputs are that far from logits
TASK_PRIOR = 10.0  # questions' worth of the overall mean in a task's mean
DIRECTIONS = 128
CLUSTERS = 20  # where the records name a single task
Say = Callable[[str], None]


@dataclass(frozen=True)
class Table:
    """Records as arrays: `scores` is N x M with NaN where a model was not measured."""

    texts: tuple[str, ...]
    tasks: tuple[str, ...]
    models: tuple[str, ...]
    scores: Floats


@dataclass(frozen=True)
class Fitted:
    """A scorer and its cross-fitted predictions for the training questions (N x M), each made without its question."""

    predictor: Predictor
    crossed: Floats
    shrink: float


def table(records: Sequence[Record]) -> Table:
    """Records as arrays, models in the order of their first appearance."""
    models = tuple(dict.fromkeys(m for r in records for m in r.scores))
    column = {m: i for i, m in enumerate(models)}
    scores = np.full((len(records), len(models)), np.nan, np.float32)
    for i, r in enumerate(records):
        for model, value in r.scores.items():
            if value is not None:
                scores[i, column[model]] = value
    return Table(tuple(r.query for r in records), tuple(r.task for r in records), models, scores)


def fit(data: Table, seed: int = 0, say: Say = lambda line: None) -> Fitted:
    """Train on `data`; the folds and clusters follow from `seed`."""
    rng = np.random.default_rng(seed)
    idf = rarity(data.texts)
    x = embed(data.texts, idf)
    names, groups = _groups(data.tasks, x, rng)
    folds = rng.permutation(len(x)) % min(FOLDS, len(x))
    say(f"{len(x)} questions, {len(data.models)} models, {len(names)} tasks or clusters")
    crossed = {shrink: np.zeros_like(data.scores) for shrink in SHRINKS}
    for fold in range(folds.max() + 1):
        out = folds == fold
        inner = _Half(x[~out], groups[~out], data.scores[~out], len(names))
        for shrink in SHRINKS:
            crossed[shrink][out] = inner.raw(x[out], inner.residual(shrink))
        say(f"fold {fold + 1} of {folds.max() + 1}")
    calibrations = {shrink: _calibrate(crossed[shrink], data.scores) for shrink in SHRINKS}
    shrink = min(SHRINKS, key=lambda s: calibrations[s].loss)
    best = calibrations[shrink]
    whole = _Half(x, groups, data.scores, len(names))
    directions, strengths = _span(x, shrink)
    unknown = 1.0 - np.square(x @ directions) @ strengths
    predictor = Predictor(
        models=data.models,
        tasks=names,
        idf=idf,
        task_weights=whole.task_weights,
        task_bias=whole.task_bias,
        task_means=whole.task_means,
        residual=whole.residual(shrink),
        means=whole.means,
        directions=directions,
        strengths=strengths,
        familiar=float(np.quantile(unknown, 0.95)),
        slope=best.slope,
        shift=best.shift,
    )
    return Fitted(predictor, sigmoid(best.slope * to_logit(crossed[shrink]) + best.shift), shrink)


class _Half:
    """The prior and the residual, fitted on one part of the questions."""

    def __init__(self, x: Floats, groups: NDArray[np.intp], scores: Floats, count: int) -> None:
        self._x, self._scores, self._gram = x, scores, _gram(x)
        self._measured = ~np.isnan(scores)
        filled = np.where(self._measured, scores, 0.0)
        overall = filled.sum() / max(1, self._measured.sum())
        self.means = ((filled.sum(0) + overall) / (self._measured.sum(0) + 1)).astype(np.float32)
        onehot = np.eye(count, dtype=np.float32)[groups]
        share = onehot.mean(0)
        self.task_weights = TASK_SHARPNESS * _ridge(x, self._gram, onehot - share, TASK_RIDGE)
        self.task_bias = (TASK_SHARPNESS * share).astype(np.float32)
        hits, seen = onehot.T @ filled, onehot.T @ self._measured
        self.task_means = ((hits + TASK_PRIOR * self.means) / (seen + TASK_PRIOR)).astype(np.float32)

    def prior(self, x: Floats) -> Floats:
        prior: Floats = softmax(x @ self.task_weights + self.task_bias) @ self.task_means
        return prior

    def raw(self, x: Floats, residual: Floats) -> Floats:
        return self.prior(x) + x @ residual

    def residual(self, shrink: float) -> Floats:
        """What the prior leaves, regressed for each set of models that were measured on the same questions."""
        left = self._scores - self.prior(self._x)
        out = np.zeros((self._x.shape[1], left.shape[1]), np.float32)
        for pattern in np.unique(self._measured.T, axis=0):
            columns = (pattern == self._measured.T).all(axis=1)
            if pattern.all():
                out[:, columns] = _ridge(self._x, self._gram, left[:, columns], shrink)
            elif pattern.any():
                part = self._x[pattern]
                out[:, columns] = _ridge(part, _gram(part), left[pattern][:, columns], shrink)
        return out


@dataclass(frozen=True)
class _Calibration:
    slope: float
    shift: Floats
    loss: float


def _calibrate(raw: Floats, scores: Floats) -> _Calibration:
    """Logistic calibration: one slope drawn towards 1, a shift for each model drawn towards 0; Newton's method."""
    measured = ~np.isnan(scores)
    logits, truth = to_logit(raw).astype(np.float64), np.where(measured, scores, 0.0).astype(np.float64)
    slope, shift = 1.0, np.zeros(scores.shape[1])
    for _ in range(25):
        p = 0.5 * (1 + np.tanh(0.5 * (slope * logits + shift)))
        gap, weight = np.where(measured, truth - p, 0.0), np.where(measured, p * (1 - p), 0.0)
        shift_step = (gap.sum(0) - shift) / (weight.sum(0) + 1.0)
        slope_step = ((gap * logits).sum() - (slope - 1)) / ((weight * logits**2).sum() + 1)
        shift, slope = shift + 0.7 * shift_step, min(max(slope + 0.7 * slope_step, 0.0), 3.0)
    p = np.clip(0.5 * (1 + np.tanh(0.5 * (slope * logits + shift))), 1e-6, 1 - 1e-6)
    loss = -np.where(measured, truth * np.log(p) + (1 - truth) * np.log(1 - p), 0.0).sum() / max(1, measured.sum())
    return _Calibration(float(slope), shift.astype(np.float32), float(loss))


def _gram(x: Floats) -> Floats:
    """The smaller of the two matrices of dot products: between features, or between questions."""
    out: Floats = x.T @ x if len(x) > x.shape[1] else x @ x.T
    return out


def _ridge(x: Floats, gram: Floats, target: Floats, penalty: float) -> Floats:
    """Ridge regression of `target` on `x`, whichever side its Gram matrix is of."""
    among_features = len(gram) == x.shape[1] and len(x) > x.shape[1]
    right = x.T @ target if among_features else target
    solved = np.linalg.solve(gram + penalty * np.eye(len(gram), dtype=gram.dtype), right)
    out: Floats = (solved if among_features else x.T @ solved).astype(np.float32)
    return out


def _span(x: Floats, penalty: float) -> tuple[Floats, Floats]:
    """The directions that the questions span most, and how much a ridge of `penalty` knows of each, in [0, 1]."""
    values, vectors = np.linalg.eigh(_gram(x))
    values, vectors = np.clip(values[-DIRECTIONS:], 1e-9, None), vectors[:, -DIRECTIONS:]
    if len(x) <= x.shape[1]:
        vectors = x.T @ vectors / np.sqrt(values)
    return vectors.astype(np.float32), (values / (values + penalty)).astype(np.float32)


def _groups(tasks: Sequence[str], x: Floats, rng: np.random.Generator) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    """The tasks, or clusters of the questions where the records name one task only."""
    names = tuple(dict.fromkeys(tasks))
    if len(names) > 1 or len(x) < 10 * CLUSTERS:
        place = {name: i for i, name in enumerate(names)}
        return names, np.array([place[t] for t in tasks], np.intp)
    centres = x[rng.choice(len(x), CLUSTERS, replace=False)]
    for _ in range(15):
        nearest = (x @ centres.T).argmax(axis=1)
        for j in range(CLUSTERS):
            if len(mine := x[nearest == j]):
                centre = mine.mean(0)
                centres[j] = centre / (np.linalg.norm(centre) + 1e-9)
    nearest = (x @ centres.T).argmax(axis=1).astype(np.intp)
    return tuple(f"{names[0]}/{j}" for j in range(CLUSTERS)), nearest
