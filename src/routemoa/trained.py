"""A trained scorer: a folder of arrays and a manifest with hashes. Loading and scoring need numpy only; no pickle.

    prior of a model = sum over tasks of P(task | query) x the model's mean on that task
    score            = prior + residual of the query, shrunk towards the model's mean where the query is unlike the
                       training questions, then calibrated

`routemoa scorer train` writes the folder (routemoa.train), whose card.md says what it is worth.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routemoa.errors import ConfigError
from routemoa.lexical import embed
from routemoa.types import ModelSpec, Query, Scores

__all__ = ["FORMAT", "Predictor", "TrainedScorer", "load", "sigmoid"]

FORMAT = 1
CACHED = 4096  # texts whose scores are kept
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Predictor:
    """The arrays of a scorer, and the arithmetic over them. T tasks, M models, D dimensions, R directions.

    Attributes:
        idf: inverse document frequencies of the lexical features.
        task_weights, task_bias: D x T and T, logits of P(task | query).
        task_means: T x M, each model's mean on each task.
        residual: D x M.
        means: M, each model's mean over the training questions.
        directions, strengths: D x R and R: what the training questions span, and how much of each is known.
        familiar: the share of an ordinary training question that is unknown (see `unknown`).
        slope, shift: calibration of the logit, one slope and one shift for each model.
    """

    models: tuple[str, ...]
    tasks: tuple[str, ...]
    idf: Floats
    task_weights: Floats
    task_bias: Floats
    task_means: Floats
    residual: Floats
    means: Floats
    directions: Floats
    strengths: Floats
    familiar: float
    slope: float
    shift: Floats

    def embed(self, texts: Sequence[str]) -> Floats:
        """The vectors of texts, N x D."""
        return embed(texts, self.idf)

    def tasks_of(self, vectors: Floats) -> Floats:
        """P(task | query), N x T."""
        return softmax(vectors @ self.task_weights + self.task_bias)

    def unknown(self, vectors: Floats) -> Floats:
        """How much of each query the training questions say nothing about, in [0, 1], N.

        The predictive variance of a ridge regression over its prior's: 1 for what lies outside all directions.
        """
        known: Floats = np.square(vectors @ self.directions) @ self.strengths
        out: Floats = np.clip(1.0 - known, 0.0, 1.0)
        return out

    def raw(self, vectors: Floats) -> Floats:
        """Scores before calibration, N x M: shrunk towards the means by what is unknown beyond the ordinary."""
        scores = self.tasks_of(vectors) @ self.task_means + vectors @ self.residual
        trust = np.clip((1.0 - self.unknown(vectors)) / max(1.0 - self.familiar, 1e-6), 0.0, 1.0)[:, None]
        shrunk: Floats = self.means + trust * (scores - self.means)
        return shrunk

    def predict(self, texts: Sequence[str]) -> Floats:
        """P(the model answers well) for each text and model, N x M, in [0, 1]."""
        logits = to_logit(self.raw(self.embed(texts)))
        return sigmoid(self.slope * logits + self.shift)


class TrainedScorer:
    """Scores the models it knows; the others keep their `prior` from the pool file. Texts are cached."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self._column = {m: i for i, m in enumerate(predictor.models)}
        self._cache: OrderedDict[str, Floats] = OrderedDict()

    async def score(self, query: Query, pool: Sequence[ModelSpec]) -> Scores:
        """The prior of every model, computed off the event loop."""
        text = query.text
        row = self._cache.get(text)
        if row is None:
            row = (await asyncio.to_thread(self.predictor.predict, [text]))[0]
            self._cache[text] = row
            if len(self._cache) > CACHED:
                self._cache.popitem(last=False)
        return {m.name: self._known(m, row) for m in pool}

    def _known(self, spec: ModelSpec, row: Floats) -> float | None:
        """By the member's name, else by the endpoint's name for the model."""
        column = self._column.get(spec.name, self._column.get(spec.model))
        return spec.prior if column is None else float(row[column])


def load(folder: str | Path) -> TrainedScorer:
    """The scorer in a folder, its files checked against the manifest's hashes.

    Raises:
        ConfigError: there is none, it is damaged, or it is of another format.
    """
    folder = Path(folder)
    try:
        manifest: Mapping[str, Any] = json.loads((folder / "manifest.json").read_text("utf-8"))
    except (OSError, ValueError) as e:
        raise ConfigError(f"{folder}: no scorer: {e}; make one with  routemoa scorer train") from e
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ConfigError(f"{folder}: a scorer of another format than {FORMAT}; train it again")
    for name, wanted in manifest["files"].items():
        path = folder / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
            raise ConfigError(f"{path}: missing or changed since it was written; train the scorer again")
    with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
        a: dict[str, Any] = {name: arrays[name].astype(np.float32) for name in arrays.files}
    a |= {name: float(a[name]) for name in ("familiar", "slope")}
    return TrainedScorer(Predictor(tuple(manifest["models"]), tuple(manifest["tasks"]), **a))


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
