"""What a store holds, and whether its tables are of this version."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from msgspec import Struct

from routemoa.ledger.location import StoreLocation, StoreUrl
from routemoa.ledger.schema import SCHEMA, connect, connect_reading, raise_file_errors
from routemoa.ledger.trace_store.trace_tables import traces_path

__all__ = ["StoreState", "migrate_store", "read_state"]

TABLES = ("calls", "notes", "windows", "keys")
TRACE_TABLES = ("traces", "feedback")


class StoreState(Struct, frozen=True):
    """A store as it is."""

    store: str
    """Its file or URL, without a password."""
    server: str
    """What it is in."""
    schema: int | None
    """The version of its tables; None where there are none."""
    known: int
    """The version that this routemoa writes."""
    rows: dict[str, int]
    """Table -> its rows."""

    @property
    def is_current(self) -> bool:
        """Return whether the tables are of this version."""
        return self.schema == self.known

    def describe(self) -> str:
        """Return what it is and what to do, in one line."""
        if self.schema is None:
            return f"{self.server}, no store yet; make it with  routemoa store migrate"
        if self.schema < self.known:
            return (
                f"{self.server}, schema {self.schema}, and this routemoa knows {self.known}; upgrade it with  "
                "routemoa store migrate"
            )
        if self.schema > self.known:
            return f"{self.server}, schema {self.schema}, and this routemoa knows {self.known}; upgrade routemoa"
        return f"{self.server}, schema {self.schema}"


def read_state(store: StoreLocation) -> StoreState:
    """Return what a store holds; nothing is changed. Blocks. Raises StoreError."""
    if isinstance(store, StoreUrl):
        return _read_database(store)
    rows: dict[str, int] = {}
    connection = connect_reading(store)
    if connection is not None:
        rows = _count_rows(connection, store, TABLES)
    traces = traces_path(store)
    if isinstance(traces, Path) and traces.exists():
        file = sqlite3.connect(f"{traces.absolute().as_uri()}?mode=ro", uri=True)
        rows |= _count_rows(file, traces, TRACE_TABLES)
    server = f"SQLite {sqlite3.sqlite_version}"
    return StoreState(str(store), server, None if connection is None else SCHEMA, SCHEMA, rows)


def migrate_store(store: StoreLocation) -> tuple[int, int]:
    """Bring the tables of a store to this version; return the versions before and after. Blocks. Raises StoreError."""
    if isinstance(store, StoreUrl):
        from routemoa.ledger.postgres.migrations import migrate

        return migrate(store)
    before = read_state(store).schema or 0
    connect(store).close()
    return before, SCHEMA


def _read_database(url: StoreUrl) -> StoreState:
    from routemoa.ledger.postgres.driver import connect_database, raise_store_errors
    from routemoa.ledger.postgres.migrations import MIGRATIONS, read_version

    raw = connect_database(url, reading=True)
    with closing(raw), raise_store_errors(url):
        version = read_version(raw, url)
        rows: dict[str, int] = {}
        for name in (*TABLES, *TRACE_TABLES):
            found: Any = raw.execute("SELECT to_regclass(%s)", (f"routemoa.{name}",)).fetchone()
            if found[0] is not None:
                count: Any = raw.execute(f"SELECT count(*) FROM {name}").fetchone()  # noqa: S608
                rows[name] = count[0]
        server = raw.info.parameter_status("server_version") or "?"
    return StoreState(str(url), f"PostgreSQL {server.split()[0]}", version or None, len(MIGRATIONS), rows)


def _count_rows(connection: sqlite3.Connection, path: Path, names: tuple[str, ...]) -> dict[str, int]:
    with closing(connection), raise_file_errors(path):
        there = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        return {
            name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]  # noqa: S608
            for name in names
            if name in there
        }
