"""Open the folder of a live run, new or to resume: what it holds must belong to the same run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from routemoa.core.errors import ConfigError
from routemoa.core.pool_file.pool import Pool
from routemoa.datasets.questions import Question
from routemoa.evaluation.live.call_file import CALLS, CachedCall
from routemoa.evaluation.live.runner import TRACES, UnitKey, parse_unit_key
from routemoa.evaluation.outcomes import OUTCOMES, RUN, Outcome, Run, load_run, read_outcomes, save_run

__all__ = ["digest_pool", "find_answered", "start_run"]


def find_answered(
    folder: Path, run: Run, questions: Sequence[Question], *, retry: bool = False, option: str = "--out"
) -> set[UnitKey]:
    """Return what the folder holds answers to; with `retry` without those that failed. Changes nothing.

    `option` is the one that names the folder, for the errors.

    Raises:
        ConfigError: the folder cannot be written, or it holds a run of another pool, seed, judge or task.
        RecordsError: its outcomes cannot be read.
    """
    existing = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise ConfigError(f"{folder}: cannot be written to; choose another {option}")
    if (folder / RUN).exists():
        _check_same_run(folder, run, option)
    outcomes = list(read_outcomes(folder))
    _check_same_questions(folder, outcomes, questions, option)
    return {(o.method, o.task, o.id) for o in outcomes if not (retry and o.failure)}


def start_run(folder: Path, run: Run, *, retry: bool = False) -> None:
    """Make the folder and write its run.json; `retry` first deletes the failures. Raises ConfigError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise ConfigError(f"{folder}: cannot be made: {e.strerror}; choose another --out") from e
    if retry:
        _delete_failures(folder)
    save_run(folder, run)


def digest_pool(pool: Pool) -> str:
    """Return a digest of everything in the pool that decides its answers."""
    manifest = (pool.scorer / "manifest.json").read_bytes() if pool.scorer else b""
    judge = b"".join(file.read_bytes() for file in (pool.judge, pool.learned_judge) if file and file.is_file())
    learned = msgspec.json.encode(pool.learned, order="sorted") if pool.learned else b""
    data = msgspec.json.encode([pool.models, pool.mixture], order="sorted") + manifest + judge + learned
    return hashlib.sha256(data).hexdigest()[:16]


def _check_same_run(folder: Path, run: Run, option: str) -> None:
    before = load_run(folder)
    differing = [key for key in run.settings if before.settings.get(key) != run.settings[key]]
    differing += ["task"] if before.name != run.name else []
    if before.kind != run.kind or differing:
        what = ", ".join(differing) or "replay"
        raise ConfigError(f"{folder}: holds another run ({what}); choose another {option}, or remove the folder")


def _check_same_questions(
    folder: Path, outcomes: Sequence[Outcome], questions: Sequence[Question], option: str
) -> None:
    queries = {(q.task, q.id): q.query for q in questions}
    for outcome in outcomes:
        if queries.get((outcome.task, outcome.id), outcome.query) != outcome.query:
            where = f"{outcome.task}, {outcome.id}"
            raise ConfigError(f"{folder}: holds another question as {where}; choose another {option}")


def _delete_failures(folder: Path) -> None:
    """Remove failed outcomes with their traces and calls, so that they run again; what the calls cost still counts."""
    failed = {(o.method, o.task, o.id) for o in read_outcomes(folder) if o.failure}
    if not failed:
        return
    for name in (OUTCOMES, TRACES, CALLS):
        path = folder / name
        if path.exists():
            lines = path.read_bytes().splitlines(keepends=True)
            kept = [line if parse_unit_key(line) not in failed else _keep_charge(name, line) for line in lines]
            part = path.with_name(f"{name}.{os.getpid()}.part")
            part.write_bytes(b"".join(kept))
            part.replace(path)


def _keep_charge(name: str, line: bytes) -> bytes:
    """Return what stays of a deleted line: of a call that cost something, the dollars that count against the limit."""
    if name != CALLS:
        return b""
    abandoned = msgspec.json.decode(line, type=CachedCall).abandon()
    return msgspec.json.encode(abandoned) + b"\n" if abandoned.charged else b""
