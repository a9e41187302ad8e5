"""The ledger's file: its connections, and the messages where it cannot be used."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from routemoa.core.errors import ConfigError
from routemoa.ledger.location import StoreLocation
from routemoa.ledger.tables import (
    ADOPT_OPEN_CALLS,
    CREATE_IDENTITY,
    CREATE_KEYS,
    CREATE_NOTES,
    CREATE_OWNERS,
    CREATE_TABLES,
)

__all__ = [
    "BUSY_TIMEOUT",
    "LOG",
    "StoreError",
    "close_on_error",
    "connect",
    "connect_reading",
    "enable_write_ahead_log",
    "is_locked",
    "open_connection",
    "raise_file_errors",
    "remove_log",
    "to_store_error",
    "write_checkpoint",
]

LOG = logging.getLogger("routemoa.ledger")
SCHEMA = 1
LOG_SUFFIXES = ("-wal", "-shm")
"""Of the files that SQLite keeps beside its own."""
PAGE_BYTES = 2048
"""Of a new file. A transaction writes four pages at least: half of SQLite's own size takes a fifth less time."""
BUSY_TIMEOUT = 10.0
"""Seconds that a process waits for another one that has the file locked."""


class StoreError(ConfigError):
    """The store cannot be read or written. The message is one line: which store, why, and what to do."""

    is_logged = False
    """The log says it already."""


def connect(path: Path) -> sqlite3.Connection:
    """Open the ledger for writing; create it, readable by its owner only, where there is none. Raises StoreError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _hold_creation_lock(path):
            if not path.exists():
                remove_log(path)
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite gives its other files the same mode
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            # A file that is there is left to SQLite: closing it here would release the locks of this process's other
            # connections, and the next process to leave would delete the write-ahead log under them.
            return _prepare(path)
    except OSError as e:
        raise to_store_error(path, e) from e


def remove_log(path: Path) -> None:
    """Remove the write-ahead log of a file that is gone: SQLite would write it into whatever file comes next."""
    for suffix in LOG_SUFFIXES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _prepare(path: Path) -> sqlite3.Connection:
    """Open the file and create what it lacks. Raises StoreError."""
    connection = open_connection(path, path, isolation_level=None, check_same_thread=False)
    with close_on_error(connection, path):
        _read_version(connection, path)  # before anything changes: the file may be another program's
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        enable_write_ahead_log(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # it would wait for the disk: see `write_checkpoint`
        connection.execute("BEGIN IMMEDIATE")
        if not _read_version(connection, path):
            for statement in CREATE_TABLES.split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA}")
        for statement in (CREATE_NOTES + CREATE_KEYS + CREATE_OWNERS + CREATE_IDENTITY).split(";\n"):
            connection.execute(statement)
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'calls_open'").fetchone():
            for statement in ADOPT_OPEN_CALLS.split(";\n"):
                connection.execute(statement)
        connection.execute("COMMIT")
    return connection


@contextmanager
def _hold_creation_lock(path: Path) -> Iterator[None]:
    """Let one process at a time create the file, or open it. Raises OSError."""
    try:
        import fcntl
    except ImportError:  # Windows: SQLite's own locks have to do
        yield
        return
    file = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def connect_reading(path: Path, *, check_same_thread: bool = True) -> sqlite3.Connection | None:
    """Open the ledger read-only; None where there is no file yet, or an empty one. Raises StoreError."""
    if not path.exists():
        return None
    address = f"{path.absolute().as_uri()}?mode=ro"
    connection = open_connection(path, address, uri=True, check_same_thread=check_same_thread)
    with close_on_error(connection, path):
        if _read_version(connection, path):
            return connection
    connection.close()
    return None


def write_checkpoint(path: Path) -> None:
    """Copy the write-ahead log into the file and start the log again; both wait for the disk."""
    try:
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None)
        with closing(connection):
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")  # most of it, while others write
            connection.execute("PRAGMA wal_checkpoint(RESTART)")  # the rest; concurrent writers try again
            connection.execute(f"PRAGMA user_version = {SCHEMA}")  # the first write to a new log waits: do it here
    except sqlite3.Error as e:  # the next checkpoint does it
        LOG.info("%s", to_store_error(path, e))


def is_locked(error: sqlite3.Error | OSError | StoreError) -> bool:
    """Return whether the error says that another process is writing."""
    return _error_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def to_store_error(path: Path, error: OSError | sqlite3.Error | StoreError) -> StoreError:
    """Return the error to show for one of the system's or of SQLite's."""
    if isinstance(error, StoreError):
        return error
    other_file = "name another file in ROUTEMOA_STORE"
    if isinstance(error, OSError):
        return StoreError(f"{path}: the store cannot be used: {error.strerror or error}; {other_file}")
    code = _error_code(error)
    if is_locked(error):
        return StoreError(
            f"{path}: another process has kept the store locked for {BUSY_TIMEOUT:g} s; end it, or {other_file}"
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return StoreError(
            f"{path}: the store cannot be written: {error}; make the file and its folder writable, or {other_file}"
        )
    if code == sqlite3.SQLITE_FULL:
        return StoreError(f"{path}: the store cannot be written: the disk is full; make room, or {other_file}")
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return StoreError(f"{path}: not a store, or a damaged one: {error}; move it away, or {other_file}")
    return StoreError(f"{path}: the store cannot be used: {error}; {other_file}")


def _error_code(error: sqlite3.Error | OSError | StoreError) -> int:
    """Return SQLite's primary result code, 0 where there is none."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def open_connection(path: Path, database: Path | str, **settings: Any) -> sqlite3.Connection:
    """Return a connection to a store's file, which waits for others as long as all do. Raises StoreError."""
    try:
        connection: sqlite3.Connection = sqlite3.connect(database, timeout=BUSY_TIMEOUT, **settings)
    except sqlite3.Error as e:
        raise to_store_error(path, e) from e
    return connection


@contextmanager
def raise_file_errors(store: StoreLocation) -> Iterator[None]:
    """Turn SQLite's errors about a store's file into a StoreError; a database raises its own."""
    try:
        yield
    except sqlite3.Error as e:
        if isinstance(store, Path):
            raise to_store_error(store, e) from e
        raise


@contextmanager
def close_on_error(connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    """Close the connection where preparing it fails. Raises StoreError."""
    try:
        yield
    except sqlite3.Error as e:
        connection.close()
        raise to_store_error(path, e) from e
    except StoreError:
        connection.close()
        raise


def enable_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead logging. SQLite does not wait here where two processes do it at once on a new file."""
    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as e:
            if not is_locked(e) or time.monotonic() > deadline:
                raise
            time.sleep(0.005)


def _read_version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of the file's schema, 0 for an empty file. Raises StoreError: it is not one of ours."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA:
        raise StoreError(
            f"{path}: the store was written by a newer routemoa (schema {version}, this one knows {SCHEMA}); upgrade "
            "routemoa, or name another file in ROUTEMOA_STORE"
        )
    if not version and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise StoreError(f"{path}: another program's database, no store; name another file in ROUTEMOA_STORE")
    return version
