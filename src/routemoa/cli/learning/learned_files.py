"""The files of `routemoa learn`: what was learned, the key of the pool file that names it, and the log."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from routemoa.cli.pool.pool_file import PoolFile
from routemoa.cli.terminal.files import check_writable_folder, write_file
from routemoa.core.errors import ConfigError
from routemoa.core.files.toml import load_toml
from routemoa.core.learned.learned_log import FOLDER, LOG_FILE, Step, read_log
from routemoa.core.learned.learned_priors import LearnedJudge, LearnedPriors
from routemoa.datasets.appender import Appender
from routemoa.judging.judge_model import encode_judge_model

if TYPE_CHECKING:
    from routemoa.cli.learning.judge_learning import FittedJudge

__all__ = [
    "LearningRuns",
    "find_current",
    "hold_lock",
    "log_step",
    "take_over",
    "undo",
]

LOCK_FILE = ".lock"
TABLE = "learning"


def find_current(file: PoolFile) -> str | None:
    """Return the path that the pool file names; None where nothing was learned."""
    table = load_toml(file.text, str(file.path)).get(TABLE) or {}
    path = table.get("path")
    return path if isinstance(path, str) else None


def take_over(
    file: PoolFile,
    learned: LearnedPriors,
    now: float,
    about: str,
    figures: dict[str, Any],
    *,
    judge: FittedJudge | None = None,
) -> str:
    """Write what was learned, log it, and let the pool file name it; return its path. Raises ConfigError.

    Without a new judge model, the one that `learned` names stays.
    """
    import tomlkit

    moment = datetime.fromtimestamp(now, UTC)
    folder = _make_folder(file.path)
    name = moment.strftime("%Y%m%dT%H%M%SZ")
    names = (f"{name}{end}.toml" for end in ("", *(f"-{i}" for i in range(2, 1000))))
    path = f"{FOLDER}/{next(n for n in names if not (folder / n).exists())}"
    if judge is not None:
        learned = replace(learned, judge=LearnedJudge(f"{Path(path).stem}.json", judge.base))
        write_file((file.path.parent / path).with_suffix(".json"), encode_judge_model(judge.judge_model))
    tables = {key: value for key, value in msgspec.to_builtins(learned).items() if value}
    text = f"# Written by `routemoa learn` from {about}; `routemoa learn --undo` goes back.\n{tomlkit.dumps(tables)}"
    write_file(file.path.parent / path, text.encode())
    log_step(file, Step(moment.isoformat(timespec="seconds"), "taken over", path, find_current(file), figures))
    _point_to(file, path)
    return path


def undo(file: PoolFile, now: float) -> Step:
    """Let the pool file name what it named before the last step.

    Raises:
        LearningRuns: another process learns.
        ConfigError: nothing was learned.
    """
    current = find_current(file)
    if current is None:
        raise ConfigError(f"{file.path}: nothing to undo: the pool file names nothing that was learned")
    with hold_lock(file.path):
        return _undo(file, current, now)


def _undo(file: PoolFile, current: str, now: float) -> Step:
    taken = [s for s in read_log(file.path) if s.action == "taken over" and s.path == current]
    before = taken[-1].before if taken else None
    if before is not None and not (file.path.parent / before).is_file():
        before = None
    step = Step(datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"), "undone", before, current)
    log_step(file, step)
    _point_to(file, before)
    return step


def log_step(file: PoolFile, step: Step) -> None:
    """Add a step to the log; where again nothing was taken over, only the latest such line stays. Raises RouteMoAError.

    So the log says when and why nothing was, and its length is that of what has changed.
    """
    path = _make_folder(file.path) / LOG_FILE
    steps = read_log(file.path)
    if step.action == "kept" and steps and steps[-1].action == "kept":
        write_file(path, b"".join(msgspec.json.encode(each) + b"\n" for each in (*steps[:-1], step)))
        return
    with closing(Appender(path)) as log:
        log.write(step)


def _make_folder(pool_file: Path) -> Path:
    folder = pool_file.absolute().parent / FOLDER
    check_writable_folder(str(folder))
    folder.mkdir(exist_ok=True)
    return folder


class LearningRuns(ConfigError):
    """Another process learns for this pool file."""


@contextmanager
def hold_lock(pool_file: Path) -> Iterator[None]:
    """Keep other processes from learning for this pool file at the same time; the lock ends with the process.

    Raises:
        LearningRuns: another one does.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    file = os.open(_make_folder(pool_file) / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            raise LearningRuns(f"{pool_file}: another `routemoa learn` runs for this pool; try again later") from e
        yield
    finally:
        os.close(file)


def _point_to(file: PoolFile, path: str | None) -> None:
    """Set or remove the key of the pool file; all else stays as it is. Raises ConfigError."""
    import tomlkit

    before = load_toml(file.text, str(file.path)).get(TABLE)
    if before is None and path is not None:
        gap = "" if file.text.endswith("\n\n") else "\n" if file.text.endswith("\n") else "\n\n"
        file.save(f'{file.text}{gap}[{TABLE}]\npath = "{path}"\n', file.entries, {TABLE: {"path": path}})
        return
    document: Any = tomlkit.parse(file.text)
    table: dict[str, Any] = {key: value for key, value in (before or {}).items() if key != "path"}
    if path is not None:
        document[TABLE]["path"] = path
        table["path"] = path
    elif table:
        del document[TABLE]["path"]
    else:
        del document[TABLE]
    file.save(tomlkit.dumps(document), file.entries, {TABLE: table or None})
