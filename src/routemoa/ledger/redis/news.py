"""Messages between all processes with one Redis: each hears what the others have said, in its order."""

from __future__ import annotations

from routemoa.ledger.location import SharedUrl
from routemoa.ledger.redis.connection import PREFIX, RedisConnection, new_owner

__all__ = ["RedisNews"]

STREAM = f"{PREFIX}news"
KEPT = "10000"
"""Messages, about; older ones are dropped."""
SINCE_SECONDS = "300"
"""Whose messages a process hears that has just begun."""


class RedisNews:
    """A `NewsStore`. It connects when it is used, and again after an error.

    Args:
        url: of the server.
    """

    def __init__(self, url: SharedUrl) -> None:
        self._redis = RedisConnection(url)
        self._sender = new_owner()
        self._last = b""

    async def exchange(self, message: bytes) -> list[tuple[float, bytes]]:
        """Tell the others something, unless it is empty; return what they have said, with the seconds since.

        Raises:
            StoreError: it is unknown whether it was told.
        """
        values = (self._last, self._sender, message, KEPT, SINCE_SECONDS)
        self._last, news = await self._redis.run("news", [STREAM], *values)
        return [(max(0, age) / 1000, data) for age, data in news]

    async def aclose(self) -> None:
        """Drop the connection."""
        await self._redis.aclose()
