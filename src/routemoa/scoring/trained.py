"""A trained scorer in the loop: read from its folder, off the event loop, in batches, cached by text.

The folder holds arrays.npz (read without pickle), questions.jsonl.gz (what it was trained on), card.md (what it is
worth) and manifest.json with the hashes of the others; `routemoa scorer train` writes it. What it has learned since is
in outcomes.jsonl beside them, and is undone by taking that file away.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from routemoa.core.errors import ConfigError
from routemoa.core.types import ModelSpec, Query, Scores
from routemoa.scoring.encoder import Encoder
from routemoa.scoring.online import OUTCOMES_FILE, GradedQuery, apply_outcomes, read_outcomes
from routemoa.scoring.predictor import Floats, Predictor

__all__ = ["FORMAT", "TrainingQuestion", "TrainedScorer", "load_trained_scorer", "read_manifest", "read_training_questions"]

FORMAT = 2
CACHE_SIZE = 4096  # texts whose scores are kept
BATCH_SIZE = 64  # texts that are scored in one go


LOG = logging.getLogger("routemoa.scoring.constant")


class TrainingQuestion(msgspec.Struct, frozen=True, omit_defaults=True, rename={"residual": "surprise"}):
    """A training question."""

    id: str
    task: str
    query: str
    residual: float
    """How much better the models did on it than predicted, on average; "surprise" in the file."""
    prompt: str | None = None
    reference: str | None = None


class TrainedScorer:
    """Scores the models it knows; the others keep their `prior` from the pool file. Texts are cached."""

    def __init__(self, predictor: Predictor, outcomes: Sequence[GradedQuery] = ()) -> None:
        self.trained = self.predictor = predictor
        self._outcomes: list[GradedQuery] = []
        self._columns = {m: i for i, m in enumerate(predictor.models)}
        self._cache: OrderedDict[str, Floats] = OrderedDict()
        self._pending: dict[str, asyncio.Future[Floats]] = {}
        self._worker: asyncio.Task[None] | None = None
        if outcomes:
            self.learn(outcomes)

    def learn(self, outcomes: Sequence[GradedQuery]) -> None:
        """Take outcomes into account, after the earlier ones; a model that drifts is said in the log."""
        self._outcomes += outcomes
        found = apply_outcomes(self.trained, self._outcomes)
        self.predictor = found.predictor
        self._cache.clear()
        for drift in found.drifts:
            LOG.warning("%s", drift)

    def forget(self) -> None:
        """Back to what was trained."""
        self._outcomes.clear()
        self.predictor = self.trained
        self._cache.clear()

    async def score(self, query: Query, pool: Sequence[ModelSpec]) -> Scores:
        """The prior of every model, computed off the event loop; queries that come together share a batch."""
        row = self._cache.get(query.text)
        if row is None:
            row = await self._request_scores(query.text)
        return {m.name: self._read_score(m, row) for m in pool}

    def knows(self, model: ModelSpec) -> bool:
        """Whether a model is scored, or keeps its `prior`."""
        return self._find_column(model) is not None

    def _find_column(self, spec: ModelSpec) -> int | None:
        """By the member's name, else by the endpoint's name for the model."""
        return self._columns.get(spec.name, self._columns.get(spec.model))

    def _read_score(self, spec: ModelSpec, row: Floats) -> float | None:
        column = self._find_column(spec)
        return spec.prior if column is None else float(row[column])

    async def _request_scores(self, text: str) -> Floats:
        loop = asyncio.get_running_loop()
        future = self._pending.get(text)
        if future is None or future.get_loop() is not loop:
            future = self._pending[text] = loop.create_future()
        if self._worker is None or self._worker.done() or self._worker.get_loop() is not loop:
            self._worker = loop.create_task(self._score_pending())
        return await asyncio.shield(future)  # another query may wait for the same text

    async def _score_pending(self) -> None:
        """Score what waits, a batch at a time, until nothing waits."""
        while self._pending:
            batch = list(self._pending)[:BATCH_SIZE]
            futures = [self._pending.pop(text) for text in batch]
            predictor = self.predictor
            try:
                rows = await asyncio.to_thread(predictor.predict, batch)
            except Exception as e:  # it goes to those who asked; the others still wait
                for future in futures:
                    if not future.done():
                        future.set_exception(e)
                continue
            except BaseException:
                for future in futures:
                    future.cancel()
                raise
            for text, future, row in zip(batch, futures, rows, strict=True):
                if predictor is self.predictor:  # it may have learned meanwhile
                    self._cache[text] = row
                if not future.done():
                    future.set_result(row)
            while len(self._cache) > CACHE_SIZE:
                self._cache.popitem(last=False)


def read_manifest(folder: str | Path) -> Mapping[str, Any]:
    """What is known of the scorer in a folder. Raises ConfigError: there is none, or it is of another format."""
    folder = Path(folder)
    try:
        about = json.loads((folder / "manifest.json").read_text("utf-8"))
    except (OSError, ValueError) as e:
        raise ConfigError(f"{folder}: no scorer: {e}; make one with  routemoa scorer train") from e
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ConfigError(f"{folder}: a scorer of another format than {FORMAT}; train it again")
    return about


def load_trained_scorer(folder: str | Path) -> TrainedScorer:
    """The scorer in a folder, its files checked against the manifest's hashes.

    Raises:
        ConfigError: there is none, it is damaged, it is of another format, or a library is absent.
    """
    folder = Path(folder)
    about = read_manifest(folder)
    for name, wanted in about["files"].items():
        path = folder / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
            raise ConfigError(f"{path}: missing or changed since it was written; train the scorer again")
    with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
        a: dict[str, Any] = {name: arrays[name].astype(np.float32) for name in arrays.files}
    a |= {name: float(a[name]) for name in ("familiar", "slope", "logits")}
    a["encoder"] = Encoder.load(folder) if "encoder.onnx" in about["files"] else None
    return TrainedScorer(
        Predictor(tuple(about["models"]), tuple(about["tasks"]), **a), read_outcomes(folder / OUTCOMES_FILE)
    )


def read_training_questions(folder: str | Path) -> list[TrainingQuestion]:
    """What the scorer was trained on, the most telling questions first. Raises ConfigError."""
    path = Path(folder) / "questions.jsonl.gz"
    try:
        with gzip.open(path, "rb") as file:
            return [msgspec.json.decode(line, type=TrainingQuestion) for line in file]
    except (OSError, EOFError, msgspec.DecodeError) as e:
        raise ConfigError(f"{path}: cannot be read: {e}; train the scorer again") from e
