"""Messages between all processes of a database: each hears what the others have said, in its order."""

from __future__ import annotations

import secrets

from routemoa.ledger.location import StoreUrl
from routemoa.ledger.postgres.opening import LastingConnection
from routemoa.ledger.worker import Worker

__all__ = ["PostgresNews"]

SINCE_SECONDS = 300.0
"""For which messages are kept: a process hears those when it begins."""
EXCHANGE = "SELECT id, age, message FROM exchange_news(%s, %s, %s, %s)"


class PostgresNews:
    """Connects when it is used, and again after an error.

    Args:
        url: of the database.
    """

    def __init__(self, url: StoreUrl) -> None:
        self._connection = LastingConnection(url)
        self._sender = secrets.token_hex(8)
        self._last = 0
        self._worker = Worker("news")

    async def exchange(self, message: bytes) -> list[tuple[float, bytes]]:
        """Tell the others something, unless it is empty; return what they have said, with the seconds since.

        Raises:
            StoreError: it is unknown whether it was told.
        """
        return await self._worker.run(self._exchange, message)

    async def aclose(self) -> None:
        """Drop the connection, once it is not used any more."""
        self._worker.put(self._connection.close)
        self._worker.close()

    # --- in the thread

    def _exchange(self, message: bytes) -> list[tuple[float, bytes]]:
        rows = self._connection.execute(EXCHANGE, (self._last, self._sender, message, SINCE_SECONDS))
        self._last = max((row[0] for row in rows), default=self._last)
        return [(age, bytes(said)) for _, age, said in rows]
