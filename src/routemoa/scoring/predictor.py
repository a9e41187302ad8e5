"""The arithmetic of a scorer: from the vector of a query to the probability that each model answers it well.

    x       = [hashed words and characters, encoder's vector]   either may be absent
    phi(q)  = [P(task | q), x space]           what the query is, in T + R numbers
    raw     = phi(q) . k_m + x . common        k_m: the model's embedding; common: how hard the query is for everybody
    score   = sigmoid(slope x logit(raw) + shift_m), raw first drawn towards the model's mean where q is unlike the
              training questions

Numpy only. `routemoa scorer train` makes the arrays (routemoa.training.fast), `routemoa.scoring.trained` reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routemoa.scoring.encoder import Encoder
from routemoa.scoring.lexical import embed_lexical, strip_solved_examples

__all__ = ["Floats", "Predictor", "embed_texts", "sigmoid", "softmax", "to_logit"]

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Predictor:
    """The arrays of a scorer. T tasks, M models, D dimensions, R + S directions, C panels of K models.

    Attributes:
        idf: inverse document frequencies of the lexical features; empty where there are none.
        task_weights, task_bias: D x T and T, logits of P(task | query).
        space: D x R, the directions in which models differ beyond tasks.
        embeddings: (T + R) x M, k_m as columns; the first T numbers of a model are its means on the tasks.
        common: D, what a query adds to every model's score.
        center: T + R, the mean of phi over the training questions.
        spread: M, how far a model's task means lie from its mean (standard deviation).
        directions, strengths: D x S and S: what the training questions span, and how much of each is known.
        familiar: the share of an ordinary training question that is unknown (see `unknown`).
        slope, shift: calibration of the logit, one slope and one shift for each model.
        panels: C x K, columns of models; the sets that the set head knows.
        panel_values: T x C, P(any member of the panel is right) on each task.
        task_costs: T x M, mean dollars of a call on each task, NaN where unknown.
        logits: 1.0 where `raw` is a logit already (a cosine, the published recipe), 0.0 where it is a probability.
        encoder: makes the second part of a query's vector; None: words and characters alone.
    """

    models: tuple[str, ...]
    tasks: tuple[str, ...]
    idf: Floats
    task_weights: Floats
    task_bias: Floats
    space: Floats
    embeddings: Floats
    common: Floats
    center: Floats
    spread: Floats
    directions: Floats
    strengths: Floats
    familiar: float
    slope: float
    shift: Floats
    panels: Floats
    panel_values: Floats
    task_costs: Floats
    logits: float = 0.0
    encoder: Encoder | None = None

    def embed(self, texts: Sequence[str]) -> Floats:
        """The vectors of texts, N x D."""
        return embed_texts(texts, self.idf, self.encoder)

    def classify_tasks(self, vectors: Floats) -> Floats:
        """P(task | query), N x T."""
        return softmax(vectors @ self.task_weights + self.task_bias)

    def compute_features(self, vectors: Floats) -> Floats:
        """What the embeddings are multiplied with, N x (T + R)."""
        return np.hstack([self.classify_tasks(vectors), vectors @ self.space])

    @property
    def model_means(self) -> Floats:
        """Each model's mean over the training questions, M, before calibration."""
        out: Floats = self.center @ self.embeddings
        return out

    def estimate_novelty(self, vectors: Floats) -> Floats:
        """How much of each query the training questions say nothing about, in [0, 1], N.

        The predictive variance of a ridge regression over its prior's: 1 for what lies outside all directions.
        """
        known: Floats = np.square(vectors @ self.directions) @ self.strengths
        out: Floats = np.clip(1.0 - known, 0.0, 1.0)
        return out

    def estimate_familiarity(self, vectors: Floats) -> Floats:
        """How far to believe what is said of each query rather than of the mean, in [0, 1], N x 1."""
        out: Floats = np.clip((1.0 - self.estimate_novelty(vectors)) / max(1.0 - self.familiar, 1e-6), 0.0, 1.0)[:, None]
        return out

    def score_raw(self, vectors: Floats) -> Floats:
        """Scores before calibration, N x M: drawn towards the means by what is unknown beyond the ordinary."""
        scores = self.compute_features(vectors) @ self.embeddings + (vectors @ self.common)[:, None]
        drawn: Floats = (self.model_means + self.estimate_familiarity(vectors) * (scores - self.model_means)).astype(np.float32)
        return drawn

    def predict(self, texts: Sequence[str]) -> Floats:
        """P(the model answers well) for each text and model, N x M, in [0, 1]."""
        return self.predict_vectors(self.embed(texts))

    def predict_vectors(self, vectors: Floats) -> Floats:
        """P(the model answers well) for each vector and model, N x M, in [0, 1]."""
        return self.calibrate(self.score_raw(vectors))

    def calibrate(self, raw: Floats) -> Floats:
        """Probabilities, of the shape of `raw`."""
        return sigmoid(self.slope * (raw if self.logits else to_logit(raw)) + self.shift)

    def estimate_uncertainty(self, vectors: Floats) -> Floats:
        """Standard deviation of each probability, N x M: what is not known of the query's kind, up to `spread`."""
        strange = 1.0 - self.estimate_familiarity(vectors) * (1.0 - self.estimate_novelty(vectors))[:, None]
        out: Floats = self.spread * np.sqrt(strange).astype(np.float32)
        return out

    def choose_panels(self, vectors: Floats) -> NDArray[np.intp]:
        """The panel whose chance of at least one right answer is highest, N x K columns of models."""
        average = self.center[: len(self.tasks)]
        trust = self.estimate_familiarity(vectors)
        likely = trust * self.classify_tasks(vectors) + (1.0 - trust) * average
        chosen: NDArray[np.intp] = self.panels.astype(np.intp)[(likely @ self.panel_values).argmax(axis=1)]
        return chosen

    def estimate_costs(self, vectors: Floats) -> Floats:
        """Expected dollars of a call, N x M; NaN where the records knew none."""
        out: Floats = self.classify_tasks(vectors) @ self.task_costs
        return out


def embed_texts(texts: Sequence[str], idf: Floats, encoder: Encoder | None) -> Floats:
    """Vectors of texts, of length 1: of words and characters, of the encoder, or both side by side."""
    parts = [embed_lexical(texts, idf)] if len(idf) else []
    if encoder:
        parts.append(encoder.encode([strip_solved_examples(text) for text in texts]))
    out: Floats = np.hstack(parts) / np.float32(np.sqrt(len(parts)))
    return out


def softmax(logits: Floats) -> Floats:
    """Rows to probabilities."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    out: Floats = powers / powers.sum(axis=1, keepdims=True)
    return out


def to_logit(probabilities: Floats) -> Floats:
    """log(p / (1 - p)), with p kept within [0.01, 0.99]."""
    p = np.clip(probabilities, 0.01, 0.99)
    out: Floats = np.log(p / (1 - p))
    return out


def sigmoid(logits: Floats) -> Floats:
    """1 / (1 + exp(-x)), without overflow."""
    out: Floats = 0.5 * (1.0 + np.tanh(0.5 * logits))
    return out
