"""Messages between all processes of a database: each hears what the others have said, in its order."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from routemoa.ledger.location import StoreUrl
from routemoa.ledger.postgres.driver import raise_store_errors
from routemoa.ledger.postgres.opening import open_database
from routemoa.ledger.schema import StoreError
from routemoa.ledger.worker import Worker

if TYPE_CHECKING:
    import psycopg

__all__ = ["PostgresNews"]

SINCE_SECONDS = 300.0
"""For which messages are kept: a process hears those when it begins."""
SETTINGS = "SET synchronous_commit = off; SET statement_timeout = '5s'"
EXCHANGE = "SELECT id, age, message FROM exchange_news(%s, %s, %s, %s)"


class PostgresNews:
    """Connects when it is used, and again after an error.

    Args:
        url: of the database.
    """

    def __init__(self, url: StoreUrl) -> None:
        self._url = url
        self._sender = secrets.token_hex(8)
        self._last = 0
        self._raw: psycopg.Connection[Any] | None = None
        self._worker = Worker("news")

    async def exchange(self, message: bytes) -> list[tuple[float, bytes]]:
        """Tell the others something, unless it is empty; return what they have said, with the seconds since.

        Raises:
            StoreError: it is unknown whether it was told.
        """
        return await self._worker.run(self._exchange, message)

    async def aclose(self) -> None:
        """Drop the connection, once it is not used any more."""
        self._worker.put(self._close)
        self._worker.close()

    # --- in the thread

    def _exchange(self, message: bytes) -> list[tuple[float, bytes]]:
        try:
            raw = self._connect()
            with raise_store_errors(self._url):
                rows = raw.execute(EXCHANGE, (self._last, self._sender, message, SINCE_SECONDS)).fetchall()
        except StoreError:
            self._close()
            raise
        self._last = max((row[0] for row in rows), default=self._last)
        return [(age, bytes(said)) for _, age, said in rows]

    def _connect(self) -> psycopg.Connection[Any]:
        if self._raw is None:
            connection = open_database(self._url)
            assert connection is not None  # noqa: S101  (it is made where there is none)
            self._raw = connection.raw
            with raise_store_errors(self._url):
                self._raw.execute(SETTINGS)
        return self._raw

    def _close(self) -> None:
        raw, self._raw = self._raw, None
        if raw is not None:
            raw.close()
