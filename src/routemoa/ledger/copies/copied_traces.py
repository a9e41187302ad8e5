"""Copy traces and feedback from a file to a database; and what every copy of a table reports."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from msgspec import Struct

from routemoa.ledger.connections import Connection, open_writing, transact
from routemoa.ledger.location import StoreUrl

__all__ = ["CopiedTable", "copy_traces", "split_rows"]

T = TypeVar("T")
CHUNK = 1_000
"""Rows of one transaction."""
TRACE_CHUNK = 50
TRACE_COLUMNS = "id, at, tenant, method, choice, calls, cost, bytes, answer"


class CopiedTable(Struct, frozen=True):
    """What was copied of one table, and whether it is all there."""

    table: str
    source: int
    """Rows of the file."""
    copied: int
    """Rows that this run has added."""
    target: int
    """Rows of the file that the database holds now."""
    dollars: tuple[float, float] | None = None
    """The sum in the file, and of the same rows in the database."""
    skipped: tuple[str, ...] = ()
    """What the database has under the same name, and keeps."""

    @property
    def is_whole(self) -> bool:
        """Return whether everything of the file is in the database."""
        same = self.dollars is None or math.isclose(*self.dollars, rel_tol=1e-9, abs_tol=1e-9)
        return same and self.target + len(self.skipped) >= self.source


def split_rows(rows: Iterator[T], size: int | None = None) -> Iterator[list[T]]:
    """Yield rows in lists, each for one transaction."""
    while chunk := list(islice(rows, size or CHUNK)):
        yield chunk


def copy_traces(file: sqlite3.Connection, target: StoreUrl) -> list[CopiedTable]:
    """Copy the traces that the database has not, with what was said of them."""
    traces = said = 0
    for chunk in split_rows(file.execute(f"SELECT {TRACE_COLUMNS} FROM traces ORDER BY number"), TRACE_CHUNK):  # noqa: S608
        marks = ", ".join("?" * len(chunk))
        ids = [row[0] for row in chunk]
        feedback = file.execute(
            f"SELECT id, at, feedback FROM feedback WHERE id IN ({marks}) ORDER BY number",  # noqa: S608
            ids,
        ).fetchall()
        new = transact(target, partial(_insert_traces, chunk=chunk, feedback=feedback))
        traces, said = traces + new[0], said + new[1]
    tables = []
    with closing(open_writing(target)) as connection:
        for name, added in (("traces", traces), ("feedback", said)):
            there = rows = 0
            for chunk in split_rows(file.execute(f"SELECT id, count(*) FROM {name} GROUP BY id")):  # noqa: S608
                rows += sum(count for _, count in chunk)
                query = f"SELECT count(*) FROM {name} WHERE id = ANY(?)"  # noqa: S608
                there += connection.execute(query, ([id_ for id_, _ in chunk],)).fetchone()[0]
            tables.append(CopiedTable(name, rows, added, there))
    return tables


def _insert_traces(connection: Connection, chunk: Sequence[Any], feedback: Sequence[Any]) -> tuple[int, int]:
    """Add traces that are not there, with what was said of them; and what was said since of those that are."""
    ids = [row[0] for row in chunk]
    there = {row[0] for row in connection.execute("SELECT id FROM traces WHERE id = ANY(?)", (ids,)).fetchall()}
    marks = ", ".join("?" * len(chunk[0]))
    new = [row for row in chunk if row[0] not in there]
    if new:
        connection.executemany(f"INSERT INTO traces ({TRACE_COLUMNS}) VALUES ({marks})", new)  # noqa: S608
    query = "SELECT id, at, feedback FROM feedback WHERE id = ANY(?)"
    known = set(connection.execute(query, (ids,)).fetchall())
    fresh = [row for row in feedback if row[0] not in there or tuple(row) not in known]
    if fresh:
        connection.executemany("INSERT INTO feedback (id, at, feedback) VALUES (?, ?, ?)", fresh)
    return len(new), len(fresh)
