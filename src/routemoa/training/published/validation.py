"""Questions kept back from a training that has epochs, and what the first choice is worth on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from routemoa.scoring.predictor import Floats

__all__ = ["first_choice_accuracy", "split_by_task", "normalize_rows"]

Ints = NDArray[np.intp]


def first_choice_accuracy(said: Floats, scores: Floats) -> float:
    """The mean true score of the model said to be best, among those measured on the question."""
    some = ~np.isnan(scores).all(axis=1)
    chosen = np.where(np.isnan(scores), -np.inf, said)[some].argmax(axis=1)
    return float(scores[some][np.arange(len(chosen)), chosen].mean()) if len(chosen) else 0.0


def split_by_task(tasks: Sequence[str], share: float, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Questions to train on and to validate with, the latter that share of every task."""
    mixed = rng.permutation(len(tasks))
    by_task = mixed[np.argsort([tasks[i] for i in mixed], kind="stable")]
    held = by_task[:: max(2, round(1 / share))]
    return np.setdiff1d(by_task, held), held


def normalize_rows(vectors: Floats) -> Floats:
    """The vectors (... x d) at length 1."""
    found: Floats = (vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)).astype(np.float32)
    return found
