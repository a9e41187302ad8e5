"""What came of an evaluation: one outcome for each method, question and seed, in a folder that a report can read.

DIR/run.json        what was run, and how: `Run`
DIR/outcomes.jsonl  an `Outcome` a line, live or replayed
DIR/calls.jsonl     live runs: every call that was paid for, once (routemoa.evaluation.live.call_cache)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from routemoa.core.errors import ConfigError
from routemoa.core.types import add_optional
from routemoa.datasets.jsonl import BadLine, ErrorCollector, read_lines

__all__ = ["OUTCOMES", "RUN", "Outcome", "Run", "load_run", "read_outcomes", "save_run"]

RUN, OUTCOMES = "run.json", "outcomes.jsonl"


class Outcome(Struct, frozen=True, omit_defaults=True):
    """What one method made of one question. None is unknown, never zero.

    Attributes:
        right: in [0, 1]; None where the answer could not be graded. A failure is 0.0: the user had no answer.
        failure: why there is no answer.
        seconds: on the critical path, from the question to the answer's end.
        path_tokens: written on the critical path: the longest reply of each layer, and the aggregator's.
        layers: who was called in each layer; an aggregator is not among them.
        choice: whose answer stands, or led those that the aggregator was given.
        confidence: the probability that the method gave its answer of being right, in [0, 1].
        stop: the method's own words on why it ended.
        prior: what the scorer expected of each model.
        each: how right each model's own answer was, where that is known: scores of records, or graded proposals.
    """

    method: str
    task: str
    id: str
    right: float | None
    failure: str | None = None
    calls: int = 0
    prompt_tokens: float | None = None
    completion_tokens: float | None = None
    cost: float | None = None
    seconds: float | None = None
    path_tokens: float | None = None
    seed: int = 0
    query: str = ""
    reference: str | None = None
    text: str | None = None
    layers: tuple[tuple[str, ...], ...] = ()
    choice: str | None = None
    aggregator: str | None = None
    confidence: float | None = None
    stop: str | None = None
    prior: dict[str, float | None] = {}
    model_scores: dict[str, float | None] = {}

    @property
    def tokens(self) -> float | None:
        """Read and written; None when either is unknown."""
        return add_optional(self.prompt_tokens, self.completion_tokens)

    @property
    def key(self) -> tuple[str, str, str, int]:
        """Method, task, id and seed, which together are unique in a run."""
        return self.method, self.task, self.id, self.seed


class Run(Struct, frozen=True, kw_only=True):
    """What was run: enough to go on with it, and to say on a page what the figures are of."""

    kind: Literal["live", "replay"]
    name: str  # of the task, or of the records
    methods: tuple[str, ...]
    models: tuple[str, ...]
    seed: int = 0
    seeds: int = 1
    limit: int | None = None
    notes: tuple[str, ...] = ()  # caveats in plain words, for the page
    settings: dict[
        str, Any
    ] = {}  # what else must be equal for a run to go on: digest of the pool file, of the questions
    version: str = ""
    summary: dict[str, Any] = {}  # routemoa.evaluation.statistics, once it is known
    scale: dict[str, Any] = {}  # method -> a point for each pool size


def save_run(folder: str | os.PathLike[str], run: Run) -> None:
    """Write DIR/run.json at once or not at all."""
    path = Path(folder) / RUN
    part = path.with_name(f"{RUN}.{os.getpid()}.part")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1) + b"\n")
    part.replace(path)


def load_run(folder: str | os.PathLike[str]) -> Run:
    """What DIR/run.json says. Raises ConfigError when DIR holds no run."""
    path = Path(folder) / RUN
    try:
        return msgspec.json.decode(path.read_bytes(), type=Run)
    except OSError as e:
        raise ConfigError(f"{path}: {e.strerror}; a folder of  routemoa bench  or  routemoa evaluate  is wanted") from e
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: not the file of a run: {e}") from e


def read_outcomes(folder: str | os.PathLike[str]) -> Iterator[Outcome]:
    """Yield the outcomes of a run, those of a file that was cut short too; none where there is no file yet.

    Raises:
        RecordsError: after the last, when any line but an unfinished last one cannot be read.
    """
    path = Path(folder) / OUTCOMES
    if not path.exists():
        return
    complaints = ErrorCollector()
    for number, line in read_lines(path, complaints):
        try:
            yield msgspec.json.decode(line, type=Outcome)
        except (msgspec.DecodeError, UnicodeDecodeError) as e:
            complaints(BadLine(str(path), number, str(e)))
    complaints.raise_if_any()
