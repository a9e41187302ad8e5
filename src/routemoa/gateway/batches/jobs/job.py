"""A job: its input, looked through once before any model is asked, and its folder."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
from msgspec import Struct

from routemoa.core.errors import ConfigError
from routemoa.datasets.input_rows import InputFiles, InputRow
from routemoa.gateway.batches.jobs.results import ResultFormat
from routemoa.gateway.batches.jobs.row_request import RowHead, read_head

__all__ = ["JOB", "InputSummary", "JobSettings", "open_job_folder", "pending_rows", "summarize_input"]

JOB = "job.json"


class InputSummary(Struct, frozen=True):
    """What a look through the whole input finds."""

    rows: int
    digest: str
    """Of all rows: another one is another input."""
    repeated: frozenset[int]
    """Numbers of rows whose id an earlier row has."""
    models: dict[str, int]
    """What rows ask -> how many do."""
    characters: int
    """Of all rows."""
    is_openai: bool
    """Whether there is a row of an OpenAI batch file."""


class JobSettings(Struct, frozen=True):
    """What decides a job's results. A folder belongs to one job."""

    input: str
    rows: int
    digest: str
    method: str | None = None
    format: ResultFormat = "jsonl"


def summarize_input(
    files: InputFiles,
    say: Callable[[str], None] = lambda _: None,
    on_row: Callable[[InputRow], None] = lambda _: None,
) -> InputSummary:
    """Look through an input. Its ids go to a temporary file, so memory stays the same however many there are.

    Args:
        files: of the input.
        say: called with a line about how they are read.
        on_row: called with each row.
    """
    digest, models, repeated = hashlib.sha256(), Counter[str](), set[int]()
    count = characters = 0
    is_openai = False
    with closing(sqlite3.connect("")) as ids:
        ids.execute("CREATE TABLE ids (id TEXT PRIMARY KEY) WITHOUT ROWID")
        for row in files.rows(say):
            head = read_head(row)
            digest.update(len(row.data).to_bytes(8, "big") + row.data)
            if not ids.execute("INSERT OR IGNORE INTO ids VALUES (?)", (_encodable(head.key),)).rowcount:
                repeated.add(row.number)
            models[head.model] += 1
            is_openai = is_openai or head.is_request
            count += 1
            characters += len(row.data)
            on_row(row)
    return InputSummary(count, digest.hexdigest()[:32], frozenset(repeated), dict(models), characters, is_openai)


def pending_rows(files: InputFiles, has_result: Callable[[int], bool]) -> Iterator[InputRow]:
    """Yield the rows without a result, in their order."""
    return (row for row in files.rows() if not has_result(row.number))


def open_job_folder(folder: Path, settings: JobSettings) -> None:
    """Make the folder of a job, or check that it is this job's.

    Raises:
        ConfigError: it cannot be made, or it holds another job.
    """
    path = folder / JOB
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            part = path.with_name(f"{JOB}.{os.getpid()}.part")
            part.write_bytes(msgspec.json.encode(settings) + b"\n")
            part.replace(path)
            return
        before = msgspec.json.decode(path.read_bytes(), type=JobSettings)
    except OSError as e:
        raise ConfigError(f"{folder}: cannot be used: {e.strerror}; choose another --out") from e
    except msgspec.DecodeError as e:
        raise ConfigError(f"{path}: {e}; choose another --out, or remove the folder") from e
    if (before.rows, before.digest) != (settings.rows, settings.digest):
        what = f"it had {before.rows:,} rows of {before.input}, and {settings.input} has {settings.rows:,}"
        what = "a row has changed" if before.rows == settings.rows else what
        raise ConfigError(f"{folder}: holds the results of another input: {what}; choose another --out")
    for name in ("method", "format"):
        old, new = getattr(before, name), getattr(settings, name)
        if old != new:
            was = f"--{name} {old}" if old else f"no --{name}"
            raise ConfigError(f"{folder}: this job began with {was}; go on so, or choose another --out")


def repeated_id(head: RowHead) -> str:
    """Return what is wrong with a row whose id another one has."""
    name = "custom_id" if head.is_request else "id"
    return f"an earlier row has the same {name}; each row needs its own"


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
