"""Load the questions of a task or a file: from a local folder, else from the cache, else from the Hugging Face hub.

The hub is read through its data set server, a JSON page of 100 rows at a time, which needs no library. Its address is
$ROUTEMOA_DATASETS, else the public one; $HF_TOKEN is sent where it is set.
"""

from __future__ import annotations

import gzip
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from routemoa.clients import weights
from routemoa.core.errors import ConfigError, RouteMoAError
from routemoa.core.files.toml import suggest_name
from routemoa.datasets.jsonl import BadLine, ErrorCollector, read_lines
from routemoa.datasets.questions import Question, read_questions
from routemoa.evaluation.tasks import TASK_NAMES, HubDataset, Task, load_task

__all__ = ["FOLDERS", "HubError", "load_questions", "sample_questions"]

FOLDERS = ("data/tasks", "../shared/data/tasks")
"""Where a task's file is looked for, relative to the working directory, when no folder is named."""

SERVER = "https://datasets-server.huggingface.co"
PAGE_ROWS = 100
"""The most rows that the server gives at once."""
TIMEOUT = 20.0
"""Seconds."""


class HubError(RouteMoAError):
    """A data set could not be downloaded. The message is one line: why, and what to do next."""

    def __init__(self, hub: HubDataset, reason: str) -> None:
        hint = "put the data set's JSONL file into a folder and name that with --data"
        super().__init__(f"{hub.dataset}: cannot be read from the hub: {reason}; {hint}")


def load_questions(
    name: str,
    folder: str | None = None,
    on_progress: Callable[[str], None] = lambda line: None,
    *,
    allow_duplicates: bool = False,
) -> list[Question]:
    """Return the questions of a task in their order.

    Args:
        name: one of `TASK_NAMES`, or the path of a file that `routemoa.datasets.questions.read_questions` reads.
        folder: holds the task's file; else FOLDERS, the cache and the hub are tried in this order.
        on_progress: called with a line while the hub is read, about columns of a file that stand for others, and about
            questions that repeat an id.
        allow_duplicates: keep questions of a file whose id came before.

    Raises:
        ConfigError: there is no such task or file, or it holds no question.
        RecordsError: lines of the file cannot be used.
        HubError: the hub was needed and did not give the data.
    """
    if name in TASK_NAMES:
        task = load_task(name)
        path = _find_local_file(task, name, folder) or _download(task.HUB, _cache_path(name), on_progress)
        questions = list(_read_rows(task, path))
    elif Path(name).is_file():
        questions = list(read_questions(name, on_progress, allow_duplicates=allow_duplicates))
    else:
        hint = "there is no file of that name, nor a task" if Path(name).suffix else "it is neither a task nor a file"
        raise ConfigError(f"{name}: {hint}; {suggest_name(name, TASK_NAMES)}")
    if not questions:
        raise ConfigError(f"{name}: no question in it")
    return questions


def sample_questions(questions: list[Question], limit: int | None, seed: int | None) -> list[Question]:
    """Return `limit` of the questions in their order: the first, or a random sample where a seed is given."""
    if limit is None or limit >= len(questions):
        return questions
    if seed is None:
        return questions[:limit]
    indices = sorted(Random(seed).sample(range(len(questions)), limit))  # noqa: S311  (a sample, no secret)
    return [questions[i] for i in indices]


def _find_local_file(task: Task, name: str, folder: str | None) -> Path | None:
    """Return the task's file in `folder`, else in FOLDERS or the cache; None where it has to be downloaded.

    Raises:
        ConfigError: `folder` does not hold it.
    """
    for place in [folder] if folder else FOLDERS:
        for file in task.FILES:
            for suffix in (".jsonl.gz", ".jsonl"):
                if (path := Path(place) / f"{file}{suffix}").is_file():
                    return path
    if folder:
        files = ", ".join(task.FILES)
        raise ConfigError(f"{folder}: no file of {name} in it; looked for {files} (.jsonl, .jsonl.gz)")
    return cached if (cached := _cache_path(name)).is_file() else None


def _cache_path(name: str) -> Path:
    return weights.cache_folder().parent / "tasks" / f"{name}.jsonl.gz"


def _read_rows(task: Task, path: Path) -> Iterator[Question]:
    errors = ErrorCollector()
    for number, line in read_lines(path, errors):
        try:
            yield task.build_question(msgspec.json.decode(line), number)
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            what = f"{e} is missing" if isinstance(e, KeyError) else str(e)
            errors(BadLine(str(path), number, f"no row of this data set: {what}"))
    errors.raise_if_any()


def _download(hub: HubDataset, path: Path, on_progress: Callable[[str], None]) -> Path:
    """Write all rows of a data set to `path`, completely or not at all."""
    rows: list[Any] = []
    total = 1
    while len(rows) < total:
        page = _fetch_page(hub, len(rows))
        total = page["num_rows_total"]
        if not page["rows"]:
            break
        rows += [r["row"] for r in page["rows"]]
        if len(rows) % (10 * PAGE_ROWS) < PAGE_ROWS or len(rows) >= total:
            on_progress(f"{hub.dataset}: {len(rows):,} of {total:,} rows")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(gzip.compress(b"".join(msgspec.json.encode(row) + b"\n" for row in rows), mtime=0))
    part.replace(path)
    return path


def _fetch_page(hub: HubDataset, offset: int) -> dict[str, Any]:
    """Return the server's page of rows from `offset` on.

    Raises:
        HubError: the server did not give it.
    """
    server = os.environ.get("ROUTEMOA_DATASETS", SERVER).rstrip("/")
    fields = {"dataset": hub.dataset, "config": hub.config, "split": hub.split, "offset": offset, "length": PAGE_ROWS}
    token = os.environ.get("HF_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"{server}/rows?{urllib.parse.urlencode(fields)}", headers=headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as reply:  # noqa: S310  (the user's own address)
            page = msgspec.json.decode(reply.read())
    except urllib.error.HTTPError as e:
        raise HubError(hub, f"HTTP {e.code}") from e
    except (OSError, HTTPException) as e:
        raise HubError(hub, str(getattr(e, "reason", e))) from e
    except msgspec.DecodeError as e:
        raise HubError(hub, f"its reply is no JSON: {e}") from e
    if not isinstance(page, dict) or not isinstance(page.get("num_rows_total"), int) or "rows" not in page:
        raise HubError(hub, "its reply holds no rows")
    return page
