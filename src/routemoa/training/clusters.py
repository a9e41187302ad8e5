"""Which questions are of one kind: the records' tasks, or clusters where they name a single task."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from routemoa.scoring.predictor import Floats

__all__ = ["group_questions"]

KMEANS_ITERATIONS = 15  # of k-means


def group_questions(
    tasks: Sequence[str], vectors: Callable[[], Floats], clusters: int, rng: np.random.Generator
) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    """The kinds' names, and the kind of each question (N).

    Args:
        vectors: gives N unit vectors; called only where the records name one task, and ten questions for each cluster.
        clusters: how many there are to be then.
    """
    names = tuple(dict.fromkeys(tasks))
    if len(names) > 1 or len(tasks) < 10 * clusters:
        place = {name: i for i, name in enumerate(names)}
        return names, np.array([place[t] for t in tasks], np.intp)
    x = vectors()
    centres = x[rng.choice(len(x), clusters, replace=False)]
    for _ in range(KMEANS_ITERATIONS):
        nearest = (x @ centres.T).argmax(axis=1)
        for j in range(clusters):
            if len(mine := x[nearest == j]):
                centre = mine.mean(0)
                centres[j] = centre / (np.linalg.norm(centre) + 1e-9)
    nearest = (x @ centres.T).argmax(axis=1).astype(np.intp)
    return tuple(f"{names[0]}/{j}" for j in range(clusters)), nearest
