"""The store's file: where it is, its tables, and what is said where it cannot be used."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from platformdirs import user_data_path

from routemoa.core.errors import ConfigError

__all__ = ["BUSY_TIMEOUT", "StoreError", "write_checkpoint", "connect", "connect_reading", "default_path", "is_locked", "to_store_error"]

LOG = logging.getLogger("routemoa.ledger")
SCHEMA = 1
BUSY_TIMEOUT = 10.0  # seconds that a process waits for others which share the file
CREATE_TABLES = """
CREATE TABLE calls (
  id INTEGER PRIMARY KEY,
  request TEXT NOT NULL,      -- the calls of one request share it
  began REAL NOT NULL,        -- seconds since the epoch
  key TEXT NOT NULL,          -- the tenant, "-" where there is none
  method TEXT NOT NULL,
  model TEXT NOT NULL,
  purpose TEXT NOT NULL,
  most REAL,                  -- dollars that it can have cost
  prompt_tokens INTEGER,      -- the provider's own figures; NULL where it gave none
  completion_tokens INTEGER,
  cached_tokens INTEGER,
  cost REAL,
  charged REAL,               -- dollars that are counted against budgets
  seconds REAL,
  outcome TEXT NOT NULL,      -- "open", "ok", "cut", "lost", or the name of an error
  owner TEXT NOT NULL         -- the process that made it
);
CREATE INDEX calls_began ON calls (began);
CREATE INDEX calls_open ON calls (owner) WHERE outcome = 'open';
CREATE TABLE windows (        -- totals of a UTC day ("2026-11-25") or month ("2026-11"), in millionths of a millionth
  key TEXT NOT NULL,          -- of a dollar: whole numbers, whose sums leave no crumbs; key "*" is everybody
  window TEXT NOT NULL,
  spent INTEGER NOT NULL,
  held INTEGER NOT NULL,      -- the most that calls under way can cost
  PRIMARY KEY (key, window)
) WITHOUT ROWID;
"""


class StoreError(ConfigError):
    """The store cannot be read or written. The message is one line: which file, what, and how to mend it."""


def default_path(env: Mapping[str, str] = os.environ) -> Path:
    """The file that ROUTEMOA_STORE names, else the one in the user's data folder."""
    named = env.get("ROUTEMOA_STORE")
    return Path(named).expanduser() if named else user_data_path("routemoa") / "store.db"


def connect(path: Path) -> sqlite3.Connection:
    """Open the store for writing; it is made where there is none, for its owner's eyes only. Raises StoreError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # what SQLite puts beside it gets the same mode
    except OSError as e:
        raise to_store_error(path, e) from e
    connection = _open_connection(path, path, isolation_level=None, check_same_thread=False)
    with _close_on_error(connection, path):
        _check_version(connection, path)  # nothing is changed in a file that is not ours
        _enable_write_ahead_log(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # waits for the disk: see `checkpoint`
        connection.execute("BEGIN IMMEDIATE")
        if not _check_version(connection, path):
            for statement in CREATE_TABLES.split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA}")
        connection.execute("COMMIT")
    return connection


def _open_connection(path: Path, database: Path | str, **settings: Any) -> sqlite3.Connection:
    try:
        connection: sqlite3.Connection = sqlite3.connect(database, timeout=BUSY_TIMEOUT, **settings)
    except sqlite3.Error as e:
        raise to_store_error(path, e) from e
    return connection


@contextmanager
def _close_on_error(connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    """What goes wrong while a connection is made ready closes it. Raises StoreError."""
    try:
        yield
    except sqlite3.Error as e:
        connection.close()
        raise to_store_error(path, e) from e
    except StoreError:
        connection.close()
        raise


def _enable_write_ahead_log(connection: sqlite3.Connection) -> None:
    """SQLite does not wait for two processes that change this at once, on a new file."""
    until = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as e:
            if not is_locked(e) or time.monotonic() > until:
                raise
            time.sleep(0.005)


def connect_reading(path: Path) -> sqlite3.Connection | None:
    """Open the store without writing; None where there is no file yet, or nothing in it. Raises StoreError."""
    if not path.exists():
        return None
    connection = _open_connection(path, f"{path.absolute().as_uri()}?mode=ro", uri=True)
    with _close_on_error(connection, path):
        if _check_version(connection, path):
            return connection
    connection.close()
    return None


def write_checkpoint(path: Path) -> None:
    """Bring what the write-ahead log holds into the file, and begin the log anew: both wait for the disk."""
    try:
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None)
        with closing(connection):
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")  # most of it, beside those who write
            connection.execute("PRAGMA wal_checkpoint(RESTART)")  # the rest; who writes meanwhile tries again
            connection.execute(f"PRAGMA user_version = {SCHEMA}")  # who writes first into a new log waits
    except sqlite3.Error as e:  # the next one does it
        LOG.info("%s", to_store_error(path, e))


def is_locked(error: sqlite3.Error | OSError) -> bool:
    """Whether another process is writing."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def to_store_error(path: Path, error: OSError | sqlite3.Error) -> StoreError:
    """What to say about an error of the system's or of SQLite's."""
    name = "name another file in ROUTEMOA_STORE"
    if isinstance(error, OSError):
        return StoreError(f"{path}: the store cannot be used: {error.strerror or error}; {name}")
    said = str(error)
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if is_locked(error):
        return StoreError(f"{path}: another process has kept the store locked for {BUSY_TIMEOUT:g} s; end it, or {name}")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return StoreError(f"{path}: the store cannot be written: {said}; make file and folder writable, or {name}")
    if code == sqlite3.SQLITE_FULL:
        return StoreError(f"{path}: the store cannot be written: the disk is full; make room, or {name}")
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return StoreError(f"{path}: no store, or a damaged one: {said}; move it away, or {name}")
    return StoreError(f"{path}: the store cannot be used: {said}; {name}")


def _check_version(connection: sqlite3.Connection, path: Path) -> int:
    """The schema that the file has; 0 where it is empty."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA:
        raise StoreError(
            f"{path}: the store was written by a newer routemoa (schema {version}, this one knows {SCHEMA}); upgrade "
            "routemoa, or name another file in ROUTEMOA_STORE"
        )
    if not version and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise StoreError(f"{path}: another program's database, no store; name another file in ROUTEMOA_STORE")
    return version
