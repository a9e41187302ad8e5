"""A new model from a few answers: a Bayesian regression of its embedding, with the known models as prior.

    k ~ N(mean of the known embeddings, their covariance, shrunk)       what a model is like
    y - x . common - surprise = phi . k + noise                         what it did on the probes

`surprise` is how much better than predicted the known models did on a probe: what is left of its luck in being easy.
Nothing else of the scorer changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from routemoa.core.errors import ConfigError
from routemoa.scoring.online import NOISE_VARIANCE, fit_bayesian_regression
from routemoa.scoring.predictor import Floats, Predictor
from routemoa.training.table import Table

__all__ = ["MIN_ANSWERS", "add_models", "most_informative"]

MIN_ANSWERS = 10  # answers of a new model
TASK_MEAN_SD = 0.05  # standard deviation of a new model's mean on one task that no known model suggests


def add_models(predictor: Predictor, data: Table, residual: Mapping[tuple[str, str], float]) -> Predictor:
    """With the models of `data` that the scorer does not know added.

    Args:
        predictor: the scorer.
        data: the new models' answers.
        surprise: (task, id) of training questions; another question has none.

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
    luck = np.array([residual.get(key, 0.0) for key in zip(data.tasks, data.ids, strict=True)])
    known = vectors @ predictor.common + luck
    mean, covariance = fit_embedding_prior(predictor)
    found: list[NDArray[np.float64]] = []
    for model in new:
        y = data.scores[:, data.models.index(model)]
        seen = ~np.isnan(y)
        if seen.sum() < MIN_ANSWERS:
            raise ConfigError(f"{model}: {int(seen.sum())} graded answers; at least {MIN_ANSWERS}, better 48, are needed")
        found.append(mean + fit_bayesian_regression(phi[seen], (y - known)[seen] - phi[seen] @ mean, covariance))
    added = np.stack(found, axis=1).astype(np.float32)
    return _append_models(predictor, new, added, data)


def _append_models(predictor: Predictor, new: list[str], added: Floats, data: Table) -> Predictor:
    tasks, count = len(predictor.tasks), len(new)
    share = predictor.center[:tasks]
    spread = np.sqrt(share @ np.square(added[:tasks] - share @ added[:tasks]))
    costs = np.nanmean(np.where(np.isnan(data.costs).all(0), 0.0, data.costs), axis=0)
    costs = np.where(np.isnan(data.costs).all(0), np.nan, costs)[[data.models.index(m) for m in new]]
    return replace(
        predictor,
        models=(*predictor.models, *new),
        embeddings=np.hstack([predictor.embeddings, added]),
        spread=np.concatenate([predictor.spread, spread]).astype(np.float32),
        shift=np.concatenate([predictor.shift, np.full(count, predictor.shift.mean(), np.float32)]),
        task_costs=np.hstack([predictor.task_costs, np.tile(costs, (tasks, 1)).astype(np.float32)]),
    )


def fit_embedding_prior(predictor: Predictor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and covariance of a model's embedding, from those of the known models; shrunk, as there are few."""
    k = predictor.embeddings.astype(np.float64)
    size, count = k.shape
    mean = k.mean(1)
    centred = k - mean[:, None]
    sample = centred @ centred.T / max(1, count - 1)
    weight = min(1.0, 3.0 / count)
    tasks = np.arange(size) < len(predictor.tasks)
    own = np.diag(np.where(tasks, TASK_MEAN_SD**2 + 0.5 / count**2, 0.0))  # few models say little about what others
    able = np.outer(tasks, tasks) * 0.3 / count  # can be like: on one task, and on all of them
    return mean, (1 - weight) * sample + weight * np.diag(np.diag(sample)) + own + able


def most_informative(predictor: Predictor, vectors: Floats, count: int) -> list[int]:
    """Places of the questions whose answers tell most about a new model, best first.

    Greedily, the one that leaves least variance of what would be predicted for all questions (I-optimal design).
    """
    phi = predictor.compute_features(vectors).astype(np.float64)
    _, left = fit_embedding_prior(predictor)
    average = phi.T @ phi / len(phi)
    out: list[int] = []
    free = np.ones(len(phi), bool)
    for _ in range(min(count, len(phi))):
        reach = phi @ left
        gain = np.einsum("ij,jk,ik->i", reach, average, reach) / (np.einsum("ij,ij->i", reach, phi) + NOISE_VARIANCE)
        best = int(np.where(free, gain, -1.0).argmax())
        free[best] = False
        out.append(best)
        left -= np.outer(reach[best], reach[best]) / (reach[best] @ phi[best] + NOISE_VARIANCE)
    return out
