"""Opens a PostgreSQL store, with its tables as this version has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from routemoa.ledger.location import StoreUrl
from routemoa.ledger.postgres.driver import PostgresConnection, connect_database, raise_store_errors
from routemoa.ledger.postgres.migrations import prepare_schema
from routemoa.ledger.schema import StoreError

if TYPE_CHECKING:
    import psycopg

__all__ = ["LastingConnection", "open_database"]

LASTING_SETTINGS = "SET synchronous_commit = off; SET statement_timeout = '5s'"
"""A crash of the server may forget the last half second of rates and news; nothing waits for its disk."""


def open_database(url: StoreUrl, *, reading: bool = False) -> PostgresConnection | None:
    """Connect to a store; create or upgrade its tables where that is needed. Blocks.

    Args:
        url: of the database.
        reading: return None where there is no store yet, and create none.

    Raises:
        StoreError: there is no connection, or the store is of a newer version.
    """
    raw = connect_database(url, reading=reading)
    try:
        if prepare_schema(raw, url, create=not reading):
            return PostgresConnection(raw, url)
    except BaseException:
        raw.close()
        raise
    raw.close()
    return None


class LastingConnection:
    """Connects when it is used, and again after an error; for one thread, and for what a crash may forget.

    Args:
        url: of the database.
    """

    def __init__(self, url: StoreUrl) -> None:
        self._url = url
        self._raw: psycopg.Connection[Any] | None = None

    def execute(self, query: Any, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Execute a statement; return its rows. Raises StoreError."""
        try:
            raw = self._connect()
            with raise_store_errors(self._url):
                cursor = raw.execute(query, values)
                return cursor.fetchall() if cursor.description else []
        except StoreError:
            self.close()
            raise

    def close(self) -> None:
        """Drop the connection."""
        raw, self._raw = self._raw, None
        if raw is not None:
            raw.close()

    def _connect(self) -> psycopg.Connection[Any]:
        if self._raw is None:
            connection = open_database(self._url)
            assert connection is not None  # noqa: S101  (it is made where there is none)
            self._raw = connection.raw
            with raise_store_errors(self._url):
                self._raw.execute(LASTING_SETTINGS)
        return self._raw
