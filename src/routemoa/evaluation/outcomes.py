"""The results of an evaluation: one outcome for each method, question and seed, in a folder that a report reads.

DIR/run.json        what was run, and how: a `Run`
DIR/outcomes.jsonl  one `Outcome` a line, live or replayed
DIR/calls.jsonl     live runs: every paid call, once (routemoa.evaluation.live.call_cache)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from routemoa.core.errors import ConfigError
from routemoa.core.files.file_kind import HEAD_BYTES, detect_kind, explain_wrong_file, quote_line
from routemoa.core.usage import add_optional
from routemoa.datasets.jsonl import BadLine, ErrorCollector, read_lines

__all__ = ["OUTCOMES", "RUN", "Outcome", "Run", "load_run", "read_outcomes", "save_run"]

RUN, OUTCOMES = "run.json", "outcomes.jsonl"


class Outcome(Struct, frozen=True, omit_defaults=True, rename={"model_scores": "each"}):
    """The result of one method on one question. None is unknown, never zero."""

    method: str
    task: str
    id: str
    right: float | None
    """The answer's score in [0, 1]; None where it could not be graded, 0.0 for a failure."""
    failure: str | None = None
    """Why there is no answer."""
    calls: int = 0
    prompt_tokens: float | None = None
    completion_tokens: float | None = None
    cost: float | None = None
    """Dollars."""
    seconds: float | None = None
    """On the critical path, from the question to the end of the answer."""
    path_tokens: float | None = None
    """Output tokens on the critical path: the longest reply of each layer, and the aggregator's."""
    seed: int = 0
    query: str = ""
    reference: str | None = None
    text: str | None = None
    layers: tuple[tuple[str, ...], ...] = ()
    """The models called in each layer, without the aggregator."""
    choice: str | None = None
    """The model whose answer was chosen, or leads those that the aggregator was given."""
    aggregator: str | None = None
    confidence: float | None = None
    """The probability in [0, 1] that the method gave its answer of being right."""
    stop: str | None = None
    """The text of the `StopReason`."""
    prior: dict[str, float | None] = {}
    """The scorer's estimates."""
    model_scores: dict[str, float | None] = {}
    """Score of each model's own answer, where it is known: from records, or from graded proposals."""

    @property
    def tokens(self) -> float | None:
        """Prompt and output tokens; None when either is unknown."""
        return add_optional(self.prompt_tokens, self.completion_tokens)

    @property
    def key(self) -> tuple[str, str, str, int]:
        """Method, task, id and seed, which together are unique in a run."""
        return self.method, self.task, self.id, self.seed


class Run(Struct, frozen=True, kw_only=True):
    """What was run: enough to resume it, and to label its figures."""

    kind: Literal["live", "replay"]
    name: str
    """Of the task, or of the records."""
    methods: tuple[str, ...]
    models: tuple[str, ...]
    seed: int = 0
    seeds: int = 1
    limit: int | None = None
    """The most questions to ask."""
    notes: tuple[str, ...] = ()
    """Caveats in plain words, for the report."""
    warnings: tuple[str, ...] = ()
    """Why the figures may mislead."""
    settings: dict[str, Any] = {}
    """Whatever else must be equal to resume the run, such as the digest of the pool."""
    version: str = ""
    summary: dict[str, Any] = {}
    """Of `statistics.summarize`, once it is known."""
    scale: dict[str, Any] = {}
    """Method -> a point for each pool size."""


def save_run(folder: str | os.PathLike[str], run: Run) -> None:
    """Write DIR/run.json, completely or not at all."""
    path = Path(folder) / RUN
    part = path.with_name(f"{RUN}.{os.getpid()}.part")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1) + b"\n")
    part.replace(path)


def load_run(folder: str | os.PathLike[str]) -> Run:
    """Read DIR/run.json.

    Raises:
        ConfigError: the folder holds no run.
    """
    path, data = Path(folder) / RUN, b""
    try:
        data = path.read_bytes()
        return msgspec.json.decode(data, type=Run)
    except OSError as e:
        hint = "name a folder that  routemoa bench  or  routemoa evaluate  wrote"
        raise ConfigError(f"{path}: {e.strerror}; {hint}") from e
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        found = detect_kind(data[:HEAD_BYTES], str(path))
        if "the run.json" not in found.description:
            raise ConfigError(f"{path}: {explain_wrong_file(found, 'run', str(path))}") from e
        raise ConfigError(f"{path}: not the file of a run: {e}") from e


def read_outcomes(folder: str | os.PathLike[str]) -> Iterator[Outcome]:
    """Yield the outcomes of a run, finished or not; none where there is no file yet.

    Raises:
        RecordsError: after the last, when any line but an unfinished last one cannot be read.
    """
    path = Path(folder) / OUTCOMES
    if not path.exists():
        return
    errors = ErrorCollector()
    for number, line in read_lines(path, errors):
        try:
            yield msgspec.json.decode(line, type=Outcome)
        except (msgspec.DecodeError, UnicodeDecodeError) as e:
            errors(BadLine(str(path), number, f"not an outcome of a run: {e}; the line reads: {quote_line(line)}"))
    errors.raise_if_any()
