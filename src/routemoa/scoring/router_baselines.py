"""Routers to compare a scorer with: nearest neighbours, and the best model of each cluster of questions. Numpy only.

Both read the same vectors as the scorer, and learn from the questions that it was trained on. What they leave open is
chosen by cross-validation on those: the number of neighbours, and the number of clusters (after Avengers, arXiv
2505.19797).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routemoa.scoring.clusters import find_centers, find_nearest
from routemoa.scoring.mean_scores import average_scores
from routemoa.scoring.predictor import Floats, Predictor
from routemoa.scoring.trained import TrainingQuestion

__all__ = ["RouterBaselines", "first_choices", "fit_router_baselines", "fit_to_training_questions"]

NEIGHBOR_COUNTS = (5, 10, 20, 40, 80, 160, 320)
CLUSTER_COUNTS = (1, 4, 8, 16, 32, 64)
FOLDS = 5
MAX_QUESTIONS = 10_000
"""Questions that are learned from: neighbours are searched among all of them."""
CHUNK = 1024
"""Queries whose neighbours are searched at once."""
MEAN_WEIGHT = 3.0
"""Weight of a model's overall mean in its mean over neighbours or a cluster, in questions."""


@dataclass(frozen=True)
class RouterBaselines:
    """Both routers. Sizes: N queries, M models."""

    vectors: Floats
    """The training questions, unit vectors."""
    scores: Floats
    """Their scores, one column for each model; NaN where a model was not measured."""
    neighbors: int
    centers: Floats
    """Of the clusters, unit vectors."""
    cluster_means: Floats
    """A row for each cluster, a column for each model."""

    def average_all(self, vectors: Floats) -> dict[str, Floats]:
        """Return the values of both routers, under their names in figures."""
        return {"knn": self.average_neighbors(vectors), "cluster_lookup": self.average_clusters(vectors)}

    def average_neighbors(self, vectors: Floats) -> Floats:
        """Return each model's mean score over the nearest training questions of each query, N x M."""
        return _average_neighbors(self.vectors, self.scores, vectors, (self.neighbors,))[0]

    def average_clusters(self, vectors: Floats) -> Floats:
        """Return each model's mean score in the cluster of each query, N x M."""
        out: Floats = self.cluster_means[find_nearest(vectors, self.centers)]
        return out


def fit_router_baselines(vectors: Floats, scores: Floats, seed: int = 0) -> RouterBaselines:
    """Learn from training questions: vectors (N x D) and scores (N x M, NaN where a model was not measured)."""
    rng = np.random.default_rng(seed)
    if len(vectors) > MAX_QUESTIONS:
        kept = rng.choice(len(vectors), MAX_QUESTIONS, replace=False)
        vectors, scores = vectors[kept], scores[kept]
    folds = rng.permutation(len(vectors)) % min(FOLDS, len(vectors))

    def predict_neighbors(training: NDArray[np.bool_], held_out: NDArray[np.bool_]) -> list[Floats]:
        return _average_neighbors(vectors[training], scores[training], vectors[held_out], NEIGHBOR_COUNTS)

    def predict_clusters(training: NDArray[np.bool_], held_out: NDArray[np.bool_]) -> list[Floats]:
        out = []
        for count in CLUSTER_COUNTS:
            centers = find_centers(vectors[training], count, np.random.default_rng(seed))
            means = _average_clusters(vectors[training], scores[training], centers)
            out.append(means[find_nearest(vectors[held_out], centers)])
        return out

    neighbors = NEIGHBOR_COUNTS[_choose_best(predict_neighbors, folds, scores)]
    clusters = CLUSTER_COUNTS[_choose_best(predict_clusters, folds, scores)]
    centers = find_centers(vectors, clusters, np.random.default_rng(seed))
    return RouterBaselines(vectors, scores, neighbors, centers, _average_clusters(vectors, scores, centers))


def fit_to_training_questions(
    predictor: Predictor, questions: Sequence[TrainingQuestion], seed: int = 0
) -> RouterBaselines | None:
    """Learn from what a scorer was trained on; None where its folder holds no scores, as before they were kept."""
    known = [q for q in questions if q.scores]
    if not known:
        return None
    scores = np.full((len(known), len(predictor.models)), np.nan, np.float32)
    for i, question in enumerate(known):
        row = question.scores[: scores.shape[1]]
        scores[i, : len(row)] = [np.nan if score is None else score for score in row]
    return fit_router_baselines(predictor.embed([q.query for q in known]), scores, seed)


def first_choices(values: Floats, scores: Floats) -> NDArray[np.intp]:
    """Return the column of the measured model with the highest value for each question; both are N x M."""
    chosen: NDArray[np.intp] = np.where(np.isnan(scores), -np.inf, values).argmax(axis=1)
    return chosen


def _choose_best(
    predict: Callable[[NDArray[np.bool_], NDArray[np.bool_]], Sequence[Floats]], folds: NDArray[np.intp], scores: Floats
) -> int:
    """Return the place of the setting whose first choices are right most often across folds."""
    if folds.max() == 0:
        return 0
    totals: NDArray[np.float64] | None = None
    for fold in range(folds.max() + 1):
        held_out = folds == fold
        truth = scores[held_out]
        rows, filled = np.arange(len(truth)), np.nan_to_num(truth)
        right = np.array([filled[rows, first_choices(v, truth)].sum() for v in predict(~held_out, held_out)])
        totals = right if totals is None else totals + right
    return 0 if totals is None else int(totals.argmax())


def _average_neighbors(x: Floats, scores: Floats, queries: Floats, counts: Sequence[int]) -> list[Floats]:
    """Return the mean scores over the nearest of questions x, drawn towards the overall means, for each count."""
    means = average_scores(scores)
    measured = ~np.isnan(scores)
    filled = np.where(measured, scores, 0.0)
    out = [np.empty((len(queries), scores.shape[1]), np.float32) for _ in counts]
    largest = min(max(counts), len(x))
    for start in range(0, len(queries), CHUNK):
        near = queries[start : start + CHUNK] @ x.T
        places = np.argsort(-near, axis=1, kind="stable")[:, :largest]
        sums, known = filled[places].cumsum(axis=1), measured[places].cumsum(axis=1)
        for values, count in zip(out, counts, strict=True):
            last = min(count, largest) - 1
            values[start : start + CHUNK] = (sums[:, last] + MEAN_WEIGHT * means) / (known[:, last] + MEAN_WEIGHT)
    return out


def _average_clusters(x: Floats, scores: Floats, centers: Floats) -> Floats:
    """Return the mean scores of each cluster, drawn towards the overall means; a row for each center."""
    means, measured = average_scores(scores), ~np.isnan(scores)
    onehot = np.eye(len(centers), dtype=np.float32)[find_nearest(x, centers)]
    sums, counts = onehot.T @ np.where(measured, scores, 0.0), onehot.T @ measured.astype(np.float32)
    out: Floats = ((sums + MEAN_WEIGHT * means) / (counts + MEAN_WEIGHT)).astype(np.float32)
    return out
