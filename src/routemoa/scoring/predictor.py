"""Compute, from the vector of a query, the probability that each model answers it well. Numpy only.

    x      = [hashed n-grams, encoder's vector]      either part may be absent
    phi    = [P(task | q), x space]                  the features of the query q, T + R numbers
    raw    = phi . k_m + x . common                  k_m: the embedding of model m; common: shared by all models
    score  = sigmoid(slope * logit(raw) + shift_m)   raw first drawn towards the model's mean where q is unlike the
                                                     training questions

`routemoa.training.fast_recipe` makes the arrays, `routemoa.scoring.trained` reads them from a folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from routemoa.scoring.encoder import Encoder
from routemoa.scoring.lexical import embed_lexical, strip_solved_examples

__all__ = ["Floats", "Predictor", "embed_texts", "sigmoid", "softmax", "to_logit"]

Floats = NDArray[np.float32]
F = TypeVar("F", np.float32, np.float64)


@dataclass(frozen=True)
class Predictor:
    """The arrays of a scorer, under the names that they have in its file arrays.npz.

    Sizes: T tasks, M models, D dimensions of a query's vector, R directions in which models differ, S directions of the
    training questions, C panels of K models.
    """

    models: tuple[str, ...]
    tasks: tuple[str, ...]
    idf: Floats
    """Inverse document frequencies of the lexical features; empty where there are none."""
    task_weights: Floats
    """D x T: weights of the logits of P(task | query)."""
    task_bias: Floats
    """T."""
    space: Floats
    """D x R: the directions in which models differ beyond tasks."""
    embeddings: Floats
    """(T + R) x M: the models' embeddings as columns; the first T numbers are a model's means on the tasks."""
    common: Floats
    """D: what a query adds to the score of every model."""
    center: Floats
    """T + R: the mean features of the training questions."""
    spread: Floats
    """M: standard deviation of a model's task means around its mean."""
    directions: Floats
    """D x S: orthonormal directions that the training questions span."""
    strengths: Floats
    """S: how much of each direction is known, in [0, 1]."""
    familiar: float
    """The novelty below which 95 % of the training questions lie, in [0, 1]."""
    slope: float
    """Of the calibration of logits, shared by all models."""
    shift: Floats
    """M: of the calibration of logits."""
    panels: Floats
    """C x K: the panels whose value is known, as columns of models."""
    panel_values: Floats
    """T x C: P(at least one model of the panel is right) on each task."""
    task_costs: Floats
    """T x M: mean dollars of a call on each task, NaN where unknown."""
    logits: float = 0.0
    """1.0 where raw scores are logits already (cosines, in the published recipe), 0.0 where they are probabilities."""
    encoder: Encoder | None = None
    """Makes the second part of a query's vector; None for a lexical scorer."""

    @property
    def model_means(self) -> Floats:
        """Each model's mean score over the training questions, M, before calibration."""
        out: Floats = self.center @ self.embeddings
        return out

    def predict(self, texts: Sequence[str]) -> Floats:
        """Return P(the model answers well) for each text and model, N x M, in [0, 1]."""
        return self.predict_vectors(self.embed(texts))

    def predict_with_tasks(self, texts: Sequence[str]) -> Floats:
        """Return P(the model answers well) of each text and model, and P(task | text) behind them, N x (M + T)."""
        vectors = self.embed(texts)
        scores = self.predict_vectors(vectors)
        return np.hstack([scores, self.classify_tasks(vectors)]) if self.tasks else scores

    def predict_vectors(self, vectors: Floats) -> Floats:
        """Return P(the model answers well) for each vector and model, N x M, in [0, 1]."""
        return self.calibrate(self.score_raw(vectors))

    def embed(self, texts: Sequence[str]) -> Floats:
        """Return the vectors of texts, N x D."""
        return embed_texts(texts, self.idf, self.encoder)

    def classify_tasks(self, vectors: Floats) -> Floats:
        """Return P(task | query), N x T."""
        return softmax(vectors @ self.task_weights + self.task_bias)

    def compute_features(self, vectors: Floats) -> Floats:
        """Return phi, which the embeddings are multiplied with, N x (T + R)."""
        return np.hstack([self.classify_tasks(vectors), vectors @ self.space])

    def estimate_novelty(self, vectors: Floats) -> Floats:
        """Return how much of each query the training questions say nothing about, N, in [0, 1].

        This is the predictive variance of a ridge regression over its prior variance: 1 outside all directions.
        """
        known: Floats = np.square(vectors @ self.directions) @ self.strengths
        out: Floats = np.clip(1.0 - known, 0.0, 1.0)
        return out

    def estimate_familiarity(self, vectors: Floats) -> Floats:
        """Return the weight of each query's own score against the models' means, N x 1, in [0, 1].

        It is 1 up to the novelty `familiar`, and falls to 0 where nothing is known of the query.
        """
        known = 1.0 - self.estimate_novelty(vectors)
        out: Floats = np.clip(known / max(1.0 - self.familiar, 1e-6), 0.0, 1.0)[:, None]
        return out

    def score_raw(self, vectors: Floats) -> Floats:
        """Return scores before calibration, N x M, drawn towards the models' means for unfamiliar queries."""
        scores = self.compute_features(vectors) @ self.embeddings + (vectors @ self.common)[:, None]
        means = self.model_means
        drawn: Floats = (means + self.estimate_familiarity(vectors) * (scores - means)).astype(np.float32)
        return drawn

    def calibrate(self, raw: Floats) -> Floats:
        """Return the probabilities of raw scores, in the same shape."""
        return sigmoid(self.slope * (raw if self.logits else to_logit(raw)) + self.shift)

    def estimate_uncertainty(self, vectors: Floats) -> Floats:
        """Return the standard deviation of each probability, N x M; it grows with novelty, up to `spread`."""
        unknown = 1.0 - self.estimate_familiarity(vectors) * (1.0 - self.estimate_novelty(vectors))[:, None]
        out: Floats = self.spread * np.sqrt(unknown).astype(np.float32)
        return out

    def choose_panels(self, vectors: Floats) -> NDArray[np.intp]:
        """Return the panel that most probably holds a right answer for each query, N x K columns of models."""
        average = self.center[: len(self.tasks)]
        familiarity = self.estimate_familiarity(vectors)
        tasks = familiarity * self.classify_tasks(vectors) + (1.0 - familiarity) * average
        chosen: NDArray[np.intp] = self.panels.astype(np.intp)[(tasks @ self.panel_values).argmax(axis=1)]
        return chosen

    def estimate_costs(self, vectors: Floats) -> Floats:
        """Return the expected dollars of a call, N x M; NaN where the records held no costs."""
        out: Floats = self.classify_tasks(vectors) @ self.task_costs
        return out


def embed_texts(texts: Sequence[str], idf: Floats, encoder: Encoder | None) -> Floats:
    """Return unit vectors of texts, N x D: lexical (unless `idf` is empty), of the encoder, or both side by side."""
    parts = [embed_lexical(texts, idf)] if len(idf) else []
    if encoder:
        parts.append(encoder.encode([strip_solved_examples(text) for text in texts]))
    out: Floats = np.hstack(parts) / np.float32(np.sqrt(len(parts)))
    return out


def softmax(logits: Floats) -> Floats:
    """Return the probabilities of each row of logits."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    out: Floats = powers / powers.sum(axis=1, keepdims=True)
    return out


def to_logit(probabilities: Floats) -> Floats:
    """Return log(p / (1 - p)), with p clipped to [0.01, 0.99]."""
    p = np.clip(probabilities, 0.01, 0.99)
    out: Floats = np.log(p / (1 - p))
    return out


def sigmoid(logits: NDArray[F]) -> NDArray[F]:
    """Return 1 / (1 + exp(-x)), without overflow and in the precision of x."""
    out: NDArray[F] = np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)), logits.dtype)
    return out
