"""Connects to PostgreSQL, and turns the driver's errors into those of a store. The only place that imports psycopg."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, LiteralString

from routemoa.core.errors import MissingExtra
from routemoa.ledger.location import StoreUrl
from routemoa.ledger.schema import StoreError

if TYPE_CHECKING:
    import psycopg

__all__ = ["PostgresConnection", "PostgresError", "connect_database", "raise_store_errors"]

SCHEMA_NAME = "routemoa"
"""The schema of the database that holds all tables: `routemoa.calls` and so on."""
DEFAULTS: dict[str, Any] = {
    "application_name": "routemoa",
    "client_encoding": "UTF8",
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""Of a connection, where the URL says nothing else: a server that is gone is noticed within some ten seconds."""
WRITER_SETTINGS = (
    "SET statement_timeout = '10s'; SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '5s'"
)
"""A process that is paused in the middle of a transaction holds the others up no longer than that."""
OTHER_STORE = "name another store in ROUTEMOA_STORE"
STREAMED_ROWS = 200
"""Rows that are fetched at once where a result may be larger than the memory."""


class PostgresError(StoreError):
    """An error of the server or of the connection to it."""

    def __init__(self, message: str, *, lost: bool, temporary: bool, data: bool = False) -> None:
        super().__init__(message)
        self.lost = lost
        """The connection is of no use any more, or there is none."""
        self.temporary = temporary
        """The same transaction may succeed when it is tried again, on this connection or another."""
        self.data = data
        """A value is one that no column can hold."""


@contextmanager
def raise_store_errors(url: StoreUrl) -> Iterator[None]:
    """Turn the driver's errors into a PostgresError: one line without a password."""
    import psycopg

    try:
        yield
    except psycopg.Error as e:
        raise _to_store_error(url, e) from e


def connect_database(url: StoreUrl, *, reading: bool = False) -> psycopg.Connection[Any]:
    """Connect to the database; statements are transactions of their own, but for those after BEGIN.

    Args:
        url: of the database. One that names several servers connects to the one that can be written.
        reading: without a limit on the time of a statement; a standby will do.

    Raises:
        MissingExtra: psycopg is not installed.
        PostgresError: there is no connection.
        StoreError: the URL is not one.
    """
    try:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict
    except ImportError as e:
        raise MissingExtra("psycopg, which speaks to PostgreSQL,", "postgres") from e
    try:
        asked = conninfo_to_dict(url.secret)
    except psycopg.Error:  # its message may quote the password
        raise StoreError(
            f"{url}: not a URL of PostgreSQL; write postgresql://USER@HOST/DATABASE, special characters as %XX"
        ) from None
    settings = {**DEFAULTS, "target_session_attrs": "any" if reading else "read-write", **asked}
    with raise_store_errors(url):
        connection = psycopg.connect(**settings, autocommit=True)
        connection.execute(f"SET search_path TO {SCHEMA_NAME}")
        if not reading:
            connection.execute(WRITER_SETTINGS)
    return connection


class PostgresConnection:
    """A connection that takes the statements that SQLite takes, with ? for parameters; it raises StoreError."""

    def __init__(self, raw: psycopg.Connection[Any], url: StoreUrl) -> None:
        self.raw, self.url = raw, url

    def execute(self, query: str, parameters: Sequence[Any] = (), /) -> psycopg.Cursor[Any]:
        """Execute a statement."""
        with raise_store_errors(self.url):
            return self.raw.execute(_translate(query), parameters or None)

    def executemany(self, query: str, rows: Iterable[Any], /) -> None:
        """Execute a statement for each row."""
        with raise_store_errors(self.url), self.raw.cursor() as cursor:
            cursor.executemany(_translate(query), rows)

    def stream(self, query: str, parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a result that may be larger than the memory; within a transaction."""
        with raise_store_errors(self.url), self.raw.cursor(name="routemoa") as cursor:
            cursor.itersize = STREAMED_ROWS
            cursor.execute(_translate(query), parameters or None)
            yield from cursor

    def close(self) -> None:
        """Close the connection; a transaction that is open is rolled back."""
        self.raw.close()


@lru_cache(maxsize=256)
def _translate(query: str) -> LiteralString:  # all statements are ours
    return query.replace("%", "%%").replace("?", "%s")


def _to_store_error(url: StoreUrl, error: psycopg.Error) -> PostgresError:
    import psycopg

    state = error.sqlstate or ""
    said = " ".join(url.hide_secrets(str(error)).split("\n")[0].split())
    lost = state[:2] in ("08", "57", "25") and state != "57014"
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and not state:
        lost = True
    temporary = lost or state[:2] in ("40", "53", "55", "57")
    if state == "25006":
        message = f"the store cannot be written: {said}; is the server a standby?"
    elif state[:2] == "40":
        message = f"the store cannot be written now: {said}; try again"
    elif "database" in said and "does not exist" in said and not state:
        message = f"the store cannot be reached: {said}; make it with  createdb,  or {OTHER_STORE}"
    elif state == "42501":
        message = f"the store cannot be used: {said}; grant it to the user, or {OTHER_STORE}"
    elif lost:
        message = f"the store cannot be reached: {said}; start the server, or {OTHER_STORE}"
    else:
        message = f"the store cannot be used: {said}; {OTHER_STORE}"
    data = isinstance(error, psycopg.DataError | psycopg.IntegrityError)
    return PostgresError(f"{url}: {message}", lost=lost, temporary=temporary, data=data)
