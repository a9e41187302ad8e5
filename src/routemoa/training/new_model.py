"""Add a new model to a scorer from a few answers, by a Bayesian regression of its embedding.

    k ~ N(mean of the known embeddings, their covariance, shrunk)
    y - x . common - residual = phi . k + noise

y is how well the model did on a probe, phi and x are the probe's features and vector (routemoa.scoring.predictor), and
`residual` is how much better than predicted the known models did on it: the probe may be easier than it looks.
Nothing else of the scorer changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from routemoa.core.errors import ConfigError
from routemoa.core.text.plural import counted
from routemoa.scoring.outcome_updates import NOISE_VARIANCE, fit_bayesian_regression
from routemoa.scoring.predictor import Floats, Predictor
from routemoa.training.table import Table

__all__ = ["EmbeddingPrior", "add_models", "fit_embedding_prior", "most_informative"]

MIN_ANSWERS = 10
"""Graded answers of a new model."""
TASK_MEAN_SD = 0.05
"""Standard deviation of a new model's mean on one task, beyond what the known models suggest."""

Doubles = NDArray[np.float64]


def add_models(predictor: Predictor, data: Table, residual: Mapping[tuple[str, str], float]) -> Predictor:
    """Return the scorer with those models of `data` added that it does not know.

    Args:
        predictor: the scorer.
        data: the new models' answers.
        residual: (task, id) of training questions -> residual; for other questions it is 0.

    Raises:
        ConfigError: no new model, or too few answers of one.
    """
    if predictor.logits:
        raise ConfigError("a scorer of the published recipe cannot be joined; train it again, or use --recipe fast")
    new = [m for m in data.models if m not in predictor.models]
    if not new:
        raise ConfigError("the records have no model that the scorer does not know; nothing to join")
    vectors = predictor.embed(data.texts)
    phi = predictor.compute_features(vectors).astype(np.float64)
    residuals = np.array([residual.get(key, 0.0) for key in zip(data.tasks, data.ids, strict=True)])
    shared = vectors @ predictor.common + residuals
    prior = fit_embedding_prior(predictor)
    embeddings: list[Doubles] = []
    for model in new:
        y = data.scores[:, data.models.index(model)]
        measured = ~np.isnan(y)
        if measured.sum() < MIN_ANSWERS:
            raise ConfigError(
                f"{model}: {counted(int(measured.sum()), 'graded answer')}; at least {MIN_ANSWERS}, better 48, "
                "are needed"
            )
        targets = (y - shared)[measured] - phi[measured] @ prior.mean
        embeddings.append(prior.mean + fit_bayesian_regression(phi[measured], targets, prior.covariance))
    return _append_models(predictor, new, np.stack(embeddings, axis=1).astype(np.float32), data)


def _append_models(predictor: Predictor, new: list[str], embeddings: Floats, data: Table) -> Predictor:
    """Return the predictor with the columns of new models: embeddings, spread, mean shift, and mean costs."""
    tasks, count = len(predictor.tasks), len(new)
    shares = predictor.center[:tasks]
    spread = np.sqrt(shares @ np.square(embeddings[:tasks] - shares @ embeddings[:tasks]))
    costs = np.nanmean(np.where(np.isnan(data.costs).all(0), 0.0, data.costs), axis=0)
    costs = np.where(np.isnan(data.costs).all(0), np.nan, costs)[[data.models.index(m) for m in new]]
    return replace(
        predictor,
        models=(*predictor.models, *new),
        embeddings=np.hstack([predictor.embeddings, embeddings]),
        spread=np.concatenate([predictor.spread, spread]).astype(np.float32),
        shift=np.concatenate([predictor.shift, np.full(count, predictor.shift.mean(), np.float32)]),
        task_costs=np.hstack([predictor.task_costs, np.tile(costs, (tasks, 1)).astype(np.float32)]),
    )


@dataclass(frozen=True)
class EmbeddingPrior:
    """The normal distribution that a new model's embedding is drawn from."""

    mean: Doubles
    """T + R."""
    covariance: Doubles
    """(T + R) x (T + R)."""


def fit_embedding_prior(predictor: Predictor) -> EmbeddingPrior:
    """Return mean and covariance of the known models' embeddings, shrunk since models are few."""
    k = predictor.embeddings.astype(np.float64)
    size, count = k.shape
    mean = k.mean(1)
    centered = k - mean[:, None]
    sample = centered @ centered.T / max(1, count - 1)
    weight = min(1.0, 3.0 / count)
    tasks = np.arange(size) < len(predictor.tasks)
    # Few models say little about what others can be like: on one task, and on all of them.
    one_task = np.diag(np.where(tasks, TASK_MEAN_SD**2 + 0.5 / count**2, 0.0))
    all_tasks = np.outer(tasks, tasks) * 0.3 / count
    covariance = (1 - weight) * sample + weight * np.diag(np.diag(sample)) + one_task + all_tasks
    return EmbeddingPrior(mean, covariance)


def most_informative(predictor: Predictor, vectors: Floats, count: int) -> list[int]:
    """Return the places of the questions whose answers say most about a new model, best first.

    Greedily, each is the question that leaves the least variance of the predictions for all questions (I-optimal
    design).
    """
    phi = predictor.compute_features(vectors).astype(np.float64)
    covariance = fit_embedding_prior(predictor).covariance
    second_moment = phi.T @ phi / len(phi)
    chosen: list[int] = []
    free = np.ones(len(phi), bool)
    for _ in range(min(count, len(phi))):
        reach = phi @ covariance
        gain = np.einsum("ij,jk,ik->i", reach, second_moment, reach) / (
            np.einsum("ij,ij->i", reach, phi) + NOISE_VARIANCE
        )
        best = int(np.where(free, gain, -1.0).argmax())
        free[best] = False
        chosen.append(best)
        covariance -= np.outer(reach[best], reach[best]) / (reach[best] @ phi[best] + NOISE_VARIANCE)
    return chosen
