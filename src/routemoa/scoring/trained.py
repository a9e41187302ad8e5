"""Serve a trained scorer: read it from its folder, and score queries off the event loop, in batches, with a cache.

The folder holds arrays.npz (read without pickle), questions.jsonl.gz (the training questions), card.md (its figures)
and manifest.json with the hashes of the others; `routemoa scorer train` writes it. Outcomes that were learned since
are in outcomes.jsonl beside them; removing that file undoes them.
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
from routemoa.scoring.outcome_updates import OUTCOMES_FILE, GradedQuery, apply_outcomes, read_outcomes
from routemoa.scoring.predictor import Floats, Predictor

__all__ = [
    "FORMAT",
    "TrainedScorer",
    "TrainingQuestion",
    "load_trained_scorer",
    "read_manifest",
    "read_training_questions",
]

FORMAT = 2
"""The version of the folder's layout."""
CACHE_SIZE = 4096
"""Texts whose scores are kept."""
BATCH_SIZE = 64
"""Texts that are scored together."""

LOG = logging.getLogger("routemoa.scoring")


class TrainingQuestion(msgspec.Struct, frozen=True, omit_defaults=True, rename={"residual": "surprise"}):
    """A question that a scorer was trained on: a line of questions.jsonl.gz."""

    id: str
    task: str
    query: str
    residual: float
    """How much better the models did on it than predicted, on average; "surprise" in the file."""
    prompt: str | None = None
    reference: str | None = None
    scores: tuple[float | None, ...] = ()
    """Of the scorer's models, in their order; a model that joined later has none. Empty in files of before."""


class TrainedScorer:
    """Scores the models that it knows; the others keep their `prior` from the pool file. Scores are cached by text."""

    def __init__(self, predictor: Predictor, outcomes: Sequence[GradedQuery] = ()) -> None:
        self.trained_predictor = predictor
        self.predictor = predictor
        self._outcomes: list[GradedQuery] = []
        self._columns = {m: i for i, m in enumerate(predictor.models)}
        self._cache: OrderedDict[str, Floats] = OrderedDict()
        self._pending: dict[asyncio.AbstractEventLoop, dict[str, asyncio.Future[Floats]]] = {}
        """The texts that queries of a loop wait for, while its worker scores them: threads share no future."""
        self._workers: set[asyncio.Task[None]] = set()
        if outcomes:
            self.learn(outcomes)

    def learn(self, outcomes: Sequence[GradedQuery]) -> None:
        """Apply outcomes after the earlier ones; a model that drifts is logged as a warning."""
        self._outcomes += outcomes
        result = apply_outcomes(self.trained_predictor, self._outcomes)
        self.predictor = result.predictor
        self._cache.clear()
        for drift in result.drifts:
            LOG.warning("%s", drift)

    def forget(self) -> None:
        """Go back to what was trained."""
        self._outcomes.clear()
        self.predictor = self.trained_predictor
        self._cache.clear()

    async def score(self, query: Query, pool: Sequence[ModelSpec]) -> Scores:
        """Return the prior of every model, computed off the event loop; concurrent queries share a batch."""
        row = self._cache.get(query.text)
        if row is None:
            row = await self._request_scores(query.text)
        return {m.name: self._read_score(m, row) for m in pool}

    async def classify(self, query: Query) -> Mapping[str, float]:
        """Return P(task | query) of each of its tasks; empty where it has none."""
        tasks = self.predictor.tasks
        row = self._cache.get(query.text) if tasks else None
        if tasks and row is None:
            row = await self._request_scores(query.text)
        return {} if row is None else dict(zip(tasks, map(float, row[len(self._columns) :]), strict=True))

    def knows(self, model: ModelSpec) -> bool:
        """Return whether a model is scored, rather than given its `prior`."""
        return self._find_column(model) is not None

    def _find_column(self, spec: ModelSpec) -> int | None:
        """Look a model up by its own name, else by that of the entry it is a candidate of, else by the endpoint's."""
        names = (spec.name, spec.member or spec.name, spec.model)
        return next((self._columns[name] for name in names if name in self._columns), None)

    def _read_score(self, spec: ModelSpec, row: Floats) -> float | None:
        column = self._find_column(spec)
        return spec.prior if column is None else float(row[column])

    async def _request_scores(self, text: str) -> Floats:
        """Queue a text for the worker and wait for its row of scores."""
        loop = asyncio.get_running_loop()
        if (pending := self._pending.get(loop)) is None:
            pending = self._pending[loop] = {}
            worker = loop.create_task(self._score_pending(pending))
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)
        if (future := pending.get(text)) is None:
            future = pending[text] = loop.create_future()
        return await asyncio.shield(future)  # another query may wait for the same text

    async def _score_pending(self, pending: dict[str, asyncio.Future[Floats]]) -> None:
        """Score the pending texts of this loop until none is left."""
        try:
            while pending:
                await self._score_batch(pending)
        finally:
            del self._pending[asyncio.get_running_loop()]

    async def _score_batch(self, pending: dict[str, asyncio.Future[Floats]]) -> None:
        """Score the first of the pending texts, as many as a batch has."""
        batch = list(pending)[:BATCH_SIZE]
        futures = [pending.pop(text) for text in batch]
        predictor = self.predictor
        try:
            rows = await asyncio.to_thread(predictor.predict_with_tasks, batch)
        except Exception as e:  # raised in the queries of this batch; the others are still scored
            for future in futures:
                if not future.done():
                    future.set_exception(e)
            return
        except BaseException:
            for future in futures:
                future.cancel()
            raise
        for text, future, row in zip(batch, futures, rows, strict=True):
            if predictor is self.predictor:  # outcomes may have been applied meanwhile
                self._cache[text] = row
            if not future.done():
                future.set_result(row)
        while len(self._cache) > CACHE_SIZE:
            self._cache.popitem(last=False)


def load_trained_scorer(folder: str | Path) -> TrainedScorer:
    """Load the scorer of a folder, its files checked against the manifest's hashes.

    Raises:
        ConfigError: there is none, it is damaged, it has another format, or a library is not installed.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    for name, expected in manifest["files"].items():
        path = folder / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            raise ConfigError(f"{path}: missing or changed since it was written; train the scorer again")
    with np.load(folder / "arrays.npz", allow_pickle=False) as stored:
        arrays: dict[str, Any] = {name: stored[name].astype(np.float32) for name in stored.files}
    arrays |= {name: float(arrays[name]) for name in ("familiar", "slope", "logits")}
    encoder = Encoder.load(folder) if "encoder.onnx" in manifest["files"] else None
    predictor = Predictor(tuple(manifest["models"]), tuple(manifest["tasks"]), **arrays, encoder=encoder)
    return TrainedScorer(predictor, read_outcomes(folder / OUTCOMES_FILE))


def read_manifest(folder: str | Path) -> Mapping[str, Any]:
    """Read the facts about the scorer of a folder. Raises ConfigError: there is none, or it has another format."""
    folder = Path(folder)
    try:
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    except (OSError, ValueError) as e:
        raise ConfigError(
            f"{folder} holds no scorer; make one with  routemoa scorer train RECORDS --out my-scorer"
        ) from e
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ConfigError(f"{folder}: a scorer of another format than {FORMAT}; train it again")
    return manifest


def read_training_questions(folder: str | Path) -> list[TrainingQuestion]:
    """Read the training questions, the most informative about a new model first. Raises ConfigError."""
    path = Path(folder) / "questions.jsonl.gz"
    try:
        with gzip.open(path, "rb") as file:
            return [msgspec.json.decode(line, type=TrainingQuestion) for line in file]
    except (OSError, EOFError, msgspec.DecodeError) as e:
        raise ConfigError(f"{path}: cannot be read: {e}; train the scorer again") from e
