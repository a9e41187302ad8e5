"""From a task's name, or a file, to its questions: a local folder first, else the hub's rows, kept in the cache.

The hub is asked through its data set server (one JSON page of 100 rows at a time): no library, no parquet. Its address
is $ROUTEMOA_DATASETS, else the public one; $HF_TOKEN is shown where it is set.
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
from routemoa.datasets.jsonl import BadLine, ErrorCollector, lines
from routemoa.datasets.questions import Question, read
from routemoa.evaluation.tasks import TASK_NAMES, HubDataset, Task, load_task

__all__ = ["FOLDERS", "HubError", "load_questions", "sample_questions"]

FOLDERS = ("data/tasks", "../shared/data/tasks")
"""Where a task's file is looked for, from the working directory, when no folder is named."""

SERVER = "https://datasets-server.huggingface.co"
PAGE = 100  # rows the server gives at most
WAIT = 20.0  # seconds for an answer


class HubError(RouteMoAError):
    """A data set could not be had. One line: why, and what to do next."""


def load_questions(
    name: str, folder: str | None = None, on_progress: Callable[[str], None] = lambda line: None
) -> list[Question]:
    """The questions of a task in their order.

    Args:
        name: one of `tasks.NAMES`, or the path of a JSONL file of one's own (routemoa.datasets.questions.read).
        folder: where the task's file is; else FOLDERS, the cache and the hub, in this order.
        say: told of what takes time.

    Raises:
        ConfigError: there is no such task or file, or it holds no question.
        RecordsError: lines of the file cannot be used.
        HubError: the hub was needed and did not give the data.
    """
    if name not in TASK_NAMES:
        if not Path(name).is_file():
            hint = "there is no file of that name" if Path(name).suffix else "it is neither a task nor a file"
            raise ConfigError(f"{name}: {hint}; tasks: {', '.join(TASK_NAMES)}")
        found = list(read(name))
    else:
        chosen = load_task(name)
        found = list(_rows(chosen, _local(chosen, name, folder) or _fetch(chosen.HUB, _cached(name), on_progress)))
    if not found:
        raise ConfigError(f"{name}: no question in it")
    return found


def sample_questions(given: list[Question], limit: int | None, seed: int | None) -> list[Question]:
    """`limit` of the questions in their order: the first, or with a seed a random draw."""
    if limit is None or limit >= len(given):
        return given
    if seed is None:
        return given[:limit]
    places = sorted(Random(seed).sample(range(len(given)), limit))  # noqa: S311  (a sample, no secret)
    return [given[i] for i in places]


def _local(chosen: Task, name: str, folder: str | None) -> Path | None:
    places = [Path(folder)] if folder else [Path(f) for f in FOLDERS]
    for place in places:
        for file in chosen.FILES:
            for ending in (".jsonl.gz", ".jsonl"):
                if (path := place / f"{file}{ending}").is_file():
                    return path
    if folder:
        raise ConfigError(
            f"{folder}: no file of {name} in it; looked for {', '.join(chosen.FILES)} (.jsonl, .jsonl.gz)"
        )
    return cached if (cached := _cached(name)).is_file() else None


def _cached(name: str) -> Path:
    return weights.folder().parent / "tasks" / f"{name}.jsonl.gz"


def _rows(chosen: Task, path: Path) -> Iterator[Question]:
    complaints = ErrorCollector()
    for number, line in lines(path, complaints):
        try:
            yield chosen.question(msgspec.json.decode(line), number)
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            what = f"{e} is missing" if isinstance(e, KeyError) else str(e)
            complaints(BadLine(str(path), number, f"no row of this data set: {what}"))
    complaints.settle()


def _fetch(hub: HubDataset, path: Path, say: Callable[[str], None]) -> Path:
    """All rows of a data set into the cache, at once or not at all."""
    rows: list[Any] = []
    total = 1
    while len(rows) < total:
        page = _page(hub, len(rows))
        total = page["num_rows_total"]
        if not page["rows"]:
            break
        rows += [r["row"] for r in page["rows"]]
        if len(rows) % (10 * PAGE) < PAGE or len(rows) >= total:
            say(f"{hub.dataset}: {len(rows):,} of {total:,} rows")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(gzip.compress(b"".join(msgspec.json.encode(row) + b"\n" for row in rows), mtime=0))
    part.replace(path)
    return path


def _page(hub: HubDataset, offset: int) -> dict[str, Any]:
    server = os.environ.get("ROUTEMOA_DATASETS", SERVER).rstrip("/")
    fields = {"dataset": hub.dataset, "config": hub.config, "split": hub.split, "offset": offset, "length": PAGE}
    token = os.environ.get("HF_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"{server}/rows?{urllib.parse.urlencode(fields)}", headers=headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=WAIT) as reply:  # noqa: S310  (the user's own address)
            page = msgspec.json.decode(reply.read())
    except urllib.error.HTTPError as e:
        raise HubError(_sorry(hub, f"HTTP {e.code}")) from e
    except (OSError, HTTPException) as e:
        raise HubError(_sorry(hub, str(getattr(e, "reason", e)))) from e
    except msgspec.DecodeError as e:
        raise HubError(_sorry(hub, f"its reply is no JSON: {e}")) from e
    if not isinstance(page, dict) or not isinstance(page.get("num_rows_total"), int) or "rows" not in page:
        raise HubError(_sorry(hub, "its reply holds no rows"))
    return page


def _sorry(hub: HubDataset, why: str) -> str:
    return (
        f"{hub.dataset}: the hub does not give it: {why}; put the data set's JSONL file into a folder and name that "
        "with --data"
    )
