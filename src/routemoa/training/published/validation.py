"""Hold out validation questions, and measure the first choice on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from routemoa.scoring.predictor import Floats

__all__ = ["Ints", "Split", "first_choice_accuracy", "normalize_rows", "split_by_task"]

Ints = NDArray[np.intp]


class Split(NamedTuple):
    """Places of questions."""

    training: Ints
    validation: Ints


def first_choice_accuracy(predicted: Floats, scores: Floats) -> float:
    """Return the mean true score of the model predicted to be best, among those measured on each question (N x M)."""
    measured = ~np.isnan(scores).all(axis=1)
    chosen = np.where(np.isnan(scores), -np.inf, predicted)[measured].argmax(axis=1)
    return float(scores[measured][np.arange(len(chosen)), chosen].mean()) if len(chosen) else 0.0


def split_by_task(tasks: Sequence[str], share: float, rng: np.random.Generator) -> Split:
    """Split questions so that validation has this share of every task."""
    mixed = rng.permutation(len(tasks))
    by_task = mixed[np.argsort([tasks[i] for i in mixed], kind="stable")]
    validation = by_task[:: max(2, round(1 / share))]
    return Split(np.setdiff1d(by_task, validation), validation)


def normalize_rows(vectors: Floats) -> Floats:
    """Return vectors (... x d) scaled to length 1."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: Floats = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return unit
