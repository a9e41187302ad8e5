"""The numerical parts that both recipes share: ridge regression, the span of questions, logistic calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from routemoa.scoring.predictor import Floats, sigmoid, to_logit

__all__ = ["Calibration", "QuestionSpan", "Ridge", "fit_calibration", "fit_cosine_calibration", "fit_span"]

MAX_DIRECTIONS = 128


class Ridge:
    """Ridge regressions of several targets and penalties on the same questions, N x D."""

    def __init__(self, x: Floats) -> None:
        self.x = x
        self._primal = len(x) > x.shape[1]  # more questions than features: solve for the features
        self._gram = x.T @ x if self._primal else x @ x.T

    def fit(self, target: Floats, penalties: Sequence[float]) -> list[Floats]:
        """Return the weights (D x columns of target) for each penalty; an infinite one gives zeros."""
        right = self.x.T @ target if self._primal else target
        out: list[Floats] = []
        for penalty in penalties:
            if np.isinf(penalty):
                out.append(np.zeros((self.x.shape[1], target.shape[1]), np.float32))
                continue
            solved = np.linalg.solve(self._gram + penalty * np.eye(len(self._gram), dtype=np.float32), right)
            out.append((solved if self._primal else self.x.T @ solved).astype(np.float32))
        return out

    def fit_masked(self, target: Floats, penalties: Sequence[float]) -> list[Floats]:
        """Do as `fit`, where NaN is not measured: one regression for each set of columns measured on the same rows."""
        measured = ~np.isnan(target)
        out = [np.zeros((self.x.shape[1], target.shape[1]), np.float32) for _ in penalties]
        for pattern in np.unique(measured.T, axis=0):
            columns = (pattern == measured.T).all(axis=1)
            if pattern.any():
                ridge = self if pattern.all() else Ridge(self.x[pattern])
                for weights, part in zip(out, ridge.fit(target[pattern][:, columns], penalties), strict=True):
                    weights[:, columns] = part
        return out


@dataclass(frozen=True)
class QuestionSpan:
    """What the training questions span: fields of `Predictor` with the same names."""

    directions: Floats
    """D x S."""
    strengths: Floats
    """S: how much is known of each direction, in [0, 1]."""
    familiar: float
    """The novelty below which 95 % of the questions lie."""


def fit_span(x: Floats, penalty: float) -> QuestionSpan:
    """Return the directions that questions (N x D) span most, and how much a ridge of `penalty` knows of each."""
    primal = len(x) > x.shape[1]
    values, vectors = np.linalg.eigh(x.T @ x if primal else x @ x.T)
    values, vectors = np.clip(values[-MAX_DIRECTIONS:], 1e-9, None), vectors[:, -MAX_DIRECTIONS:]
    if not primal:
        vectors = x.T @ vectors / np.sqrt(values)
    directions, strengths = vectors.astype(np.float32), (values / (values + penalty)).astype(np.float32)
    novelty = 1.0 - np.square(x @ directions) @ strengths
    return QuestionSpan(directions, strengths, float(np.quantile(novelty, 0.95)))


@dataclass(frozen=True)
class Calibration:
    """A calibration of logits, p = sigmoid(slope * logit + shift)."""

    slope: float
    shift: Floats
    """M, one for each model."""
    loss: float
    """The mean log-loss that is left."""


def fit_calibration(raw: Floats, scores: Floats) -> Calibration:
    """Fit a logistic calibration of probabilities (N x M) by Newton's method.

    A ridge draws the slope towards 1 and the models' shifts towards 0. `scores` is N x M, NaN where not measured.
    """
    measured = ~np.isnan(scores)
    logits, truth = to_logit(raw).astype(np.float64), np.where(measured, scores, 0.0).astype(np.float64)
    slope, shift = 1.0, np.zeros(scores.shape[1])
    for _ in range(25):
        p = sigmoid(slope * logits + shift)
        gap, weight = np.where(measured, truth - p, 0.0), np.where(measured, p * (1 - p), 0.0)
        shift_step = (gap.sum(0) - shift) / (weight.sum(0) + 1.0)
        slope_step = ((gap * logits).sum() - (slope - 1)) / ((weight * logits**2).sum() + 1)
        shift, slope = shift + 0.7 * shift_step, min(max(slope + 0.7 * slope_step, 0.0), 3.0)
    p = np.clip(sigmoid(slope * logits + shift), 1e-6, 1 - 1e-6)
    loss = -np.where(measured, truth * np.log(p) + (1 - truth) * np.log(1 - p), 0.0).sum() / max(1, measured.sum())
    return Calibration(float(slope), shift.astype(np.float32), float(loss))


def fit_cosine_calibration(cosines: Floats, scores: Floats) -> Calibration:
    """Fit p = sigmoid(slope * cosine + shift_m), N x M, by Newton's method on the log-loss.

    A ridge of 1 draws the models' shifts towards one another; a light one draws the slope to 0, below which it does not
    go. `scores` is N x M, NaN where not measured.
    """
    measured = ~np.isnan(scores)
    truth = np.where(measured, scores, 0.0).astype(np.float64)
    center, width = float(cosines.mean()), float(cosines.std()) or 1.0
    n, m = scores.shape
    # Columns: the cosine, what all models share, each model's own.
    design = np.concatenate([np.ones((n, m, 2)), np.broadcast_to(np.eye(m), (n, m, m))], axis=2)
    design[:, :, 0] = (cosines - center) / width
    x, y, weights = design[measured], truth[measured], np.zeros(m + 2)
    penalty = np.array([0.01, 0.01, *[1.0] * m])
    for _ in range(40):
        p = sigmoid(x @ weights)
        gradient = x.T @ (p - y) + penalty * weights
        weights -= 0.7 * np.linalg.solve((x.T * (p * (1 - p))) @ x + np.diag(penalty), gradient)
    if weights[0] < 0:
        return fit_cosine_calibration(np.zeros_like(cosines), scores)
    p = np.clip(sigmoid(x @ weights), 1e-6, 1 - 1e-6)
    loss = float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()) if len(y) else 0.0
    slope = float(weights[0] / width)
    return Calibration(slope, (weights[1] + weights[2:] - slope * center).astype(np.float32), loss)
