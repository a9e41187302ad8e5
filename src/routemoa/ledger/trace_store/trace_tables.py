"""The tables of traces and feedback: what their rows hold, how they are read, and when they are deleted."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
from msgspec import Struct

from routemoa.core.tables.traces_table import TraceSettings
from routemoa.core.trace import Answer
from routemoa.ledger.connections import Connection, open_reading, open_writing, stream_rows
from routemoa.ledger.location import StoreLocation, StoreUrl
from routemoa.ledger.schema import (
    close_on_error,
    enable_write_ahead_log,
    open_connection,
    raise_file_errors,
    to_store_error,
)

__all__ = [
    "GRADERS",
    "WRITE_FACTS",
    "Describe",
    "Feedback",
    "StoredTrace",
    "TraceFactsText",
    "open_traces",
    "open_traces_reading",
    "prune",
    "read_traces",
    "to_trace",
    "traces_path",
]

SCHEMA = 1
PRUNED_AT_ONCE = 200
SECONDS_PER_DAY = 86_400.0
CREATE = """
CREATE TABLE IF NOT EXISTS traces (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,      -- of the response, without its prefix
  at REAL NOT NULL,             -- seconds since the epoch
  tenant TEXT,                  -- NULL where there are none
  method TEXT NOT NULL,
  choice TEXT,
  calls INTEGER NOT NULL,
  cost REAL,                    -- dollars; NULL is unknown
  bytes INTEGER NOT NULL,
  answer BLOB NOT NULL          -- text and trace, as compressed JSON
);
CREATE INDEX IF NOT EXISTS traces_at ON traces (at);
CREATE TABLE IF NOT EXISTS feedback (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL REFERENCES traces (id) ON DELETE CASCADE,
  at REAL NOT NULL,
  feedback TEXT NOT NULL        -- JSON
);
CREATE INDEX IF NOT EXISTS feedback_id ON feedback (id);
CREATE TABLE IF NOT EXISTS trace_facts (
  number INTEGER PRIMARY KEY REFERENCES traces (number) ON DELETE CASCADE,
  version INTEGER NOT NULL,     -- of the rules by which the facts were found
  facts TEXT NOT NULL           -- what lists need of a trace, so that they unpack none; JSON of their reader
);
"""
WRITE_FACTS = (
    "INSERT INTO trace_facts (number, version, facts) SELECT number, ?, ? FROM traces WHERE id = ?"
    " ON CONFLICT (number) DO UPDATE SET version = excluded.version, facts = excluded.facts"
)
READ = "SELECT id, at, tenant, answer FROM traces ORDER BY number"
READ_LATEST = (
    "SELECT id, at, tenant, answer FROM (SELECT * FROM traces ORDER BY number DESC LIMIT ?) AS latest ORDER BY number"
)
READ_JUDGED = "SELECT id, at, tenant, answer FROM traces WHERE id IN (SELECT id FROM feedback) ORDER BY number"
GRADERS = ("exact", "numeric", "choice", "contains", "math")
"""Graders that a feedback may name: they run nothing of what they grade."""


class Feedback(Struct, frozen=True, omit_defaults=True):
    """What a caller said of an answer."""

    score: float | None = None
    """Of the answer that was given, in [0, 1]; a thumb is 0 or 1."""
    expected: str | None = None
    """What the right answer is."""
    grader: str | None = None
    """How answers are compared with it."""
    labels: dict[str, float] = {}
    """Member -> the score of its own answer, in [0, 1]."""
    comment: str | None = None


class StoredTrace(Struct, frozen=True):
    """An answer that was kept."""

    id: str
    """Of the response, without its prefix."""
    at: float
    """Seconds since the epoch."""
    tenant: str | None
    answer: Answer
    feedback: tuple[Feedback, ...] = ()
    """In the order in which it came."""


class TraceFactsText(Struct, frozen=True):
    """What lists need of a trace, as their reader wrote it."""

    version: int
    """Of the rules by which it was found: facts of another version are not read."""
    text: str


Describe = Callable[[StoredTrace], TraceFactsText]
"""Finds the facts of a trace as it is kept, without its feedback."""


def traces_path(store: StoreLocation) -> StoreLocation:
    """Return where the traces are that belong to a ledger: a file beside it, or the same database."""
    if isinstance(store, StoreUrl):
        return store
    return store.with_name(f"{store.stem}-traces{store.suffix}")


def read_traces(
    path: StoreLocation, *, with_feedback: bool = False, latest: int | None = None
) -> Iterator[StoredTrace]:
    """Yield the traces of a store, the oldest first.

    Args:
        path: the store.
        with_feedback: only those of which something was said.
        latest: how many, of all; None reads all.

    Raises:
        StoreError: the store cannot be read.
    """
    with raise_file_errors(path):
        connection = open_traces_reading(path)
        if connection is None:
            return
        with closing(connection):
            query = READ_JUDGED if with_feedback else READ if latest is None else READ_LATEST
            for row in stream_rows(connection, query, () if query is not READ_LATEST else (latest,)):
                yield to_trace(connection, row)


def open_traces_reading(path: StoreLocation) -> Connection | None:
    """Open the traces of a store to read them; None where there are none yet. Raises StoreError."""
    if isinstance(path, Path) and not path.exists():
        return None
    if isinstance(path, StoreUrl):
        return open_reading(path)
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def open_traces(path: StoreLocation) -> Connection:
    """Open the traces for writing; make them where there are none. Raises StoreError."""
    if isinstance(path, StoreUrl):
        return open_writing(path)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError as e:
        raise to_store_error(path, e) from e
    connection = open_connection(path, path, isolation_level=None, check_same_thread=False)
    with close_on_error(connection, path):
        enable_write_ahead_log(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.executescript(CREATE)
        connection.execute(f"PRAGMA user_version = {SCHEMA}")
    return connection


def prune(connection: Connection, settings: TraceSettings, now: float) -> None:
    """Delete what is too old or too much, in the open transaction."""
    connection.execute("DELETE FROM traces WHERE at < ?", (now - settings.days * SECONDS_PER_DAY,))
    most = settings.max_megabytes * 1e6
    while (connection.execute("SELECT coalesce(sum(bytes), 0) FROM traces").fetchone()[0]) > most:
        connection.execute(
            "DELETE FROM traces WHERE number IN (SELECT number FROM traces ORDER BY number LIMIT ?)", (PRUNED_AT_ONCE,)
        )


def to_trace(connection: Connection, row: tuple[str, float, str | None, bytes]) -> StoredTrace:
    """Return a trace with its feedback from a row of `READ`."""
    id_, at, tenant, packed = row
    answer = msgspec.json.decode(zlib.decompress(packed), type=Answer)
    said = connection.execute("SELECT feedback FROM feedback WHERE id = ? ORDER BY number", (id_,)).fetchall()
    return StoredTrace(id_, at, tenant, answer, tuple(msgspec.json.decode(text, type=Feedback) for (text,) in said))
