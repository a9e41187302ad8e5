"""A live run's folder is opened, or taken up again: what is there must belong to the same run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from routemoa.core.errors import ConfigError
from routemoa.core.pool import Pool
from routemoa.datasets.questions import Question
from routemoa.evaluation.live.call_cache import CALLS
from routemoa.evaluation.live.runner import TRACES
from routemoa.evaluation.outcomes import OUTCOMES, RUN, Run, load_run, read_outcomes, save_run

__all__ = ["Have", "digest_pool", "open_run"]

Have = set[tuple[str, str, str]]
"""Method, task and id of what is answered already."""


def open_run(folder: Path, run: Run, questions: Sequence[Question], *, retry: bool = False) -> Have:
    """Write DIR/run.json, and say what is answered already; with `retry`, failures are forgotten.

    Raises:
        ConfigError: the folder cannot be written, or it holds a run of another pool, seed, judge or task.
        RecordsError: its outcomes cannot be read.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise ConfigError(f"{folder}: cannot be made: {e.strerror}; choose another --out") from e
    if not os.access(folder, os.W_OK):
        raise ConfigError(f"{folder}: cannot be written to; choose another --out")
    if (folder / RUN).exists():
        before = load_run(folder)
        other = [key for key in run.settings if before.settings.get(key) != run.settings[key]]
        other += ["task"] if before.name != run.name else []
        if before.kind != run.kind or other:
            what = ", ".join(other) or "replay"
            raise ConfigError(f"{folder}: holds another run ({what}); choose another --out, or remove the folder")
    if retry:
        _forget_failures(folder)
    have = list(read_outcomes(folder))
    queries = {(q.task, q.id): q.query for q in questions}
    for o in have:
        if queries.get((o.task, o.id), o.query) != o.query:
            raise ConfigError(f"{folder}: holds another question as {o.task}, {o.id}; choose another --out")
    save_run(folder, run)
    return {(o.method, o.task, o.id) for o in have}


def digest_pool(pool: Pool) -> str:
    """Of all that decides what the pool answers."""
    manifest = (pool.scorer / "manifest.json").read_bytes() if pool.scorer else b""
    judge = pool.judge.read_bytes() if pool.judge and pool.judge.is_file() else b""
    whole = msgspec.json.encode([pool.models, pool.mixture], order="sorted") + manifest + judge
    return hashlib.sha256(whole).hexdigest()[:16]


def _forget_failures(folder: Path) -> None:
    """Take out what had no answer, with its calls: they are made anew."""
    gone = {(o.method, o.task, o.id) for o in read_outcomes(folder) if o.failure}
    for name in (OUTCOMES, TRACES, CALLS):
        path = folder / name
        if not gone or not path.exists():
            continue
        kept = [
            line
            for line in path.read_bytes().splitlines(keepends=True)
            if (k := msgspec.json.decode(line)) and (k["method"], k["task"], k["id"]) not in gone
        ]
        part = path.with_name(f"{name}.{os.getpid()}.part")
        part.write_bytes(b"".join(kept))
        part.replace(path)
