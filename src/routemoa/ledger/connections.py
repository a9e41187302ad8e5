"""The seam between what a store holds and where: keys, corrections, traces and queries use these, on either database.

Statements are written so that SQLite and PostgreSQL both take them, with ? for parameters.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from routemoa.ledger.location import StoreLocation, StoreUrl
from routemoa.ledger.schema import connect, connect_reading, raise_file_errors

if TYPE_CHECKING:
    from routemoa.ledger.postgres.driver import PostgresConnection

__all__ = [
    "FIRST_WAIT",
    "LONGEST_WAIT",
    "Connection",
    "begin",
    "has_table",
    "open_reading",
    "open_writing",
    "row_lock",
    "stream_rows",
    "transact",
]

T = TypeVar("T")
RETRY_SECONDS = 5.0
"""For which a transaction is tried again where the server is away or another one is in its way."""
FIRST_WAIT = 0.05
LONGEST_WAIT = 1.0


class Rows(Protocol):
    """The result of a statement."""

    def fetchone(self) -> Any:
        """Return the next row, None after the last."""
        ...

    def fetchall(self) -> list[Any]:
        """Return the rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """What `sqlite3.Connection` and `PostgresConnection` have in common."""

    def execute(self, query: str, parameters: Sequence[Any] = (), /) -> Rows:
        """Execute a statement."""
        ...

    def executemany(self, query: str, rows: Iterable[Any], /) -> object:
        """Execute a statement for each row."""
        ...

    def close(self) -> None:
        """Close the connection; a transaction that is open is rolled back."""
        ...


def begin(connection: Connection, *, table: str | None = None) -> None:
    """Begin a transaction that writes; with `table` no other one that names this table runs at the same time."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("BEGIN IMMEDIATE")
        return
    connection.execute("BEGIN")
    if table is not None:
        connection.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")


def row_lock(connection: Connection) -> str:
    """Return what a SELECT ends with, so that no other transaction changes its rows; SQLite locks the file."""
    return "" if isinstance(connection, sqlite3.Connection) else " FOR UPDATE"


def transact(store: StoreLocation, work: Callable[[Connection], T], *, table: str | None = None) -> T:
    """Do some work in one transaction of a store, which is created where there is none. Blocks.

    Args:
        store: where it is.
        work: is done again where the transaction failed for a cause that passes, and gives the same result then.
        table: no other transaction that names this table runs at the same time.

    Raises:
        StoreError: the store cannot be written.
    """
    if isinstance(store, StoreUrl):
        return _transact_remotely(store, work, table)
    with closing(connect(store)) as connection, raise_file_errors(store):
        begin(connection)
        result = work(connection)
        connection.execute("COMMIT")
        return result


def open_reading(store: StoreLocation, *, check_same_thread: bool = True) -> Connection | None:
    """Open a store to read it; None where there is none yet. Raises StoreError."""
    if isinstance(store, StoreUrl):
        from routemoa.ledger.postgres.opening import open_database

        return open_database(store, reading=True)
    return connect_reading(store, check_same_thread=check_same_thread)


def open_writing(store: StoreUrl) -> Connection:
    """Open a store in a database for writing. Raises StoreError."""
    from routemoa.ledger.postgres.opening import open_database

    connection = open_database(store)
    assert connection is not None  # noqa: S101  (it is made where there is none)
    return connection


def stream_rows(connection: Connection, query: str, parameters: Sequence[Any] = ()) -> Iterator[Any]:
    """Yield the rows of a result that may be larger than the memory, all as of one moment."""
    if isinstance(connection, sqlite3.Connection):
        yield from connection.execute(query, parameters)
        return
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    yield from cast("PostgresConnection", connection).stream(query, parameters)
    connection.execute("COMMIT")


def has_table(connection: Connection, name: str) -> bool:
    """Return whether there is this table: a file that an earlier version has written may lack it."""
    if not isinstance(connection, sqlite3.Connection):
        return True  # opening it has upgraded it
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchone() is not None


def _transact_remotely(store: StoreUrl, work: Callable[[Connection], T], table: str | None) -> T:
    from routemoa.ledger.postgres.driver import PostgresError

    deadline, wait = time.monotonic() + RETRY_SECONDS, FIRST_WAIT
    while True:
        try:
            with closing(open_writing(store)) as connection:
                begin(connection, table=table)
                result = work(connection)
                connection.execute("COMMIT")
                return result
        except PostgresError as e:
            if not e.temporary or time.monotonic() > deadline:
                raise
        time.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311  (no secret)
        wait = min(LONGEST_WAIT, 2 * wait)
