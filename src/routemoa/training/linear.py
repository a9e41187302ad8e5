"""What the recipes share: ridge regression, what questions span, logistic calibration. Numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from routemoa.scoring.predictor import Floats, to_logit

__all__ = ["Calibration", "Ridge", "QuestionSpan", "fit_calibration", "fit_cosine_calibration", "fit_span"]

MAX_DIRECTIONS = 128


class Ridge:
    """Ridge regressions of several targets and penalties on the same questions, N x D."""

    def __init__(self, x: Floats) -> None:
        self.x = x
        self._wide = len(x) > x.shape[1]  # more questions than features
        self._gram = x.T @ x if self._wide else x @ x.T

    def fit(self, target: Floats, penalties: Sequence[float]) -> list[Floats]:
        """Weights (D x columns of target) for each penalty; an infinite one gives zeros."""
        right = self.x.T @ target if self._wide else target
        out: list[Floats] = []
        for penalty in penalties:
            if np.isinf(penalty):
                out.append(np.zeros((self.x.shape[1], target.shape[1]), np.float32))
                continue
            solved = np.linalg.solve(self._gram + penalty * np.eye(len(self._gram), dtype=np.float32), right)
            out.append((solved if self._wide else self.x.T @ solved).astype(np.float32))
        return out

    def fit_masked(self, target: Floats, penalties: Sequence[float]) -> list[Floats]:
        """As `fit`, where NaN is not measured: one regression for each set of columns measured on the same rows."""
        measured = ~np.isnan(target)
        out = [np.zeros((self.x.shape[1], target.shape[1]), np.float32) for _ in penalties]
        for pattern in np.unique(measured.T, axis=0):
            columns = (pattern == measured.T).all(axis=1)
            if pattern.any():
                part = self if pattern.all() else Ridge(self.x[pattern])
                for whole, some in zip(out, part.fit(target[pattern][:, columns], penalties), strict=True):
                    whole[:, columns] = some
        return out


@dataclass(frozen=True)
class QuestionSpan:
    """What questions span: `directions` D x S, `strengths` S, how much is known of each, in [0, 1].

    `familiar` is what is unknown of a question at most, for 95 % of them.
    """

    directions: Floats
    strengths: Floats
    familiar: float


def fit_span(x: Floats, penalty: float) -> QuestionSpan:
    """The directions that the questions (N x D) span most, and how much a ridge of `penalty` knows of each."""
    wide = len(x) > x.shape[1]
    values, vectors = np.linalg.eigh(x.T @ x if wide else x @ x.T)
    values, vectors = np.clip(values[-MAX_DIRECTIONS:], 1e-9, None), vectors[:, -MAX_DIRECTIONS:]
    if not wide:
        vectors = x.T @ vectors / np.sqrt(values)
    directions, strengths = vectors.astype(np.float32), (values / (values + penalty)).astype(np.float32)
    unknown = 1.0 - np.square(x @ directions) @ strengths
    return QuestionSpan(directions, strengths, float(np.quantile(unknown, 0.95)))


@dataclass(frozen=True)
class Calibration:
    """Of logits: one slope, a shift for each model; `loss` is the mean log-loss it leaves."""

    slope: float
    shift: Floats
    loss: float


def fit_calibration(raw: Floats, scores: Floats) -> Calibration:
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
    return Calibration(float(slope), shift.astype(np.float32), float(loss))


def fit_cosine_calibration(cosines: Floats, scores: Floats) -> Calibration:
    """p = sigmoid(slope x cosine + shift of the model), N x M, by Newton's method on the log loss.

    The models' shifts are drawn towards one another (a ridge of 1), the slope is hardly drawn to 0, and not below it.
    """
    seen = ~np.isnan(scores)
    truth = np.where(seen, scores, 0.0).astype(np.float64)
    centre, width = float(cosines.mean()), float(cosines.std()) or 1.0
    n, m = scores.shape
    # Columns: the cosine, what all models share, each model's own.
    design = np.concatenate([np.ones((n, m, 2)), np.broadcast_to(np.eye(m), (n, m, m))], axis=2)
    design[:, :, 0] = (cosines - centre) / width
    x, y, at = design[seen], truth[seen], np.zeros(m + 2)
    penalty = np.array([0.01, 0.01, *[1.0] * m])
    for _ in range(40):
        p = 0.5 * (1 + np.tanh(0.5 * (x @ at)))
        slope_of_loss = x.T @ (p - y) + penalty * at
        at -= 0.7 * np.linalg.solve((x.T * (p * (1 - p))) @ x + np.diag(penalty), slope_of_loss)
    if at[0] < 0:
        return fit_cosine_calibration(np.zeros_like(cosines), scores)
    p = np.clip(0.5 * (1 + np.tanh(0.5 * (x @ at))), 1e-6, 1 - 1e-6)
    loss = float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()) if len(y) else 0.0
    slope = float(at[0] / width)
    return Calibration(slope, (at[1] + at[2:] - slope * centre).astype(np.float32), loss)
