"""Group questions by kind: by the records' tasks, or by clusters where they name a single task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routemoa.scoring.predictor import Floats

__all__ = ["QuestionGroups", "find_centers", "find_nearest", "group_questions"]

KMEANS_ITERATIONS = 15


@dataclass(frozen=True)
class QuestionGroups:
    """The groups of N questions."""

    names: tuple[str, ...]
    indices: NDArray[np.intp]
    """N: the place in `names` of each question's group."""


def group_questions(
    tasks: Sequence[str], vectors: Callable[[], Floats], clusters: int, rng: np.random.Generator
) -> QuestionGroups:
    """Group N questions by task, or by k-means where all are of one task.

    Args:
        tasks: the task of each question.
        vectors: returns N unit vectors; called only where there is one task, and ten questions for each cluster.
        clusters: the number of clusters in that case.
        rng: chooses the first centers.
    """
    names = tuple(dict.fromkeys(tasks))
    if len(names) > 1 or len(tasks) < 10 * clusters:
        index_of = {name: i for i, name in enumerate(names)}
        return QuestionGroups(names, np.array([index_of[t] for t in tasks], np.intp))
    x = vectors()
    nearest = find_nearest(x, find_centers(x, clusters, rng))
    return QuestionGroups(tuple(f"{names[0]}/{j}" for j in range(clusters)), nearest)


def find_centers(x: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Return the unit centers, C x D, of at most `count` clusters of unit vectors (N x D), by spherical k-means."""
    centers = x[rng.choice(len(x), min(count, len(x)), replace=False)]
    for _ in range(KMEANS_ITERATIONS):
        nearest = find_nearest(x, centers)
        for j in range(len(centers)):
            if len(members := x[nearest == j]):
                center = members.mean(0)
                centers[j] = center / (np.linalg.norm(center) + 1e-9)
    return centers


def find_nearest(x: Floats, centers: Floats) -> NDArray[np.intp]:
    """Return the place of the nearest center of each vector, N."""
    nearest: NDArray[np.intp] = (x @ centers.T).argmax(axis=1).astype(np.intp)
    return nearest
