"""The connections of one event loop: all that are open, and those of them that are kept for the next request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from routemoa.clients.connections.connection import HttpConnection, Place

__all__ = ["LoopConnections"]

KEEP_ALIVE_SECONDS = 4.0
"""Shorter than the 5 s after which common servers (uvicorn, llama.cpp) close an idle connection."""


class LoopConnections:
    """The connections of the running event loop; they close with it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._open: set[HttpConnection] = set()
        self._idle: dict[Place, list[tuple[float, HttpConnection]]] = {}
        self._is_sweeping = False
        self._holder = self._hold()

    async def close_with_loop(self) -> None:
        """Begin what closes them with their event loop: the end of a loop closes the generators begun in it."""
        await anext(self._holder)

    async def close(self) -> None:
        """Close every connection."""
        await self._holder.aclose()

    async def _hold(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            for connection in (closing := list(self._open)):
                connection.close()
            for connection in closing:
                await connection.wait_closed()

    def take(self, place: Place) -> HttpConnection | None:
        """Return a kept connection, the newest; None where there is none."""
        kept = self._idle.get(place)
        while kept:
            since, connection = kept.pop()
            if self._loop.time() - since < KEEP_ALIVE_SECONDS and connection.is_idle:
                return connection
            connection.close()
        return None

    def keep(self, connection: HttpConnection) -> None:
        """Keep a connection for the next request to its place."""
        self._idle.setdefault(connection.place, []).append((self._loop.time(), connection))
        if not self._is_sweeping:
            self._is_sweeping = True
            self._loop.call_later(KEEP_ALIVE_SECONDS, self._sweep)

    def note_open(self, connection: HttpConnection) -> None:
        """Know a connection that is there, so that it closes with its event loop."""
        if connection.is_open:
            self._open.add(connection)

    def note_lost(self, connection: HttpConnection) -> None:
        """Forget a connection that has closed."""
        self._open.discard(connection)

    def _sweep(self) -> None:
        """Close what was kept for too long, and look again while there is more."""
        due = self._loop.time() - KEEP_ALIVE_SECONDS
        for place, kept in list(self._idle.items()):
            for since, connection in kept:
                if since <= due:
                    connection.close()
            kept[:] = [(since, connection) for since, connection in kept if connection.is_open]
            if not kept:
                del self._idle[place]
        self._is_sweeping = bool(self._idle)
        if self._is_sweeping:
            self._loop.call_later(KEEP_ALIVE_SECONDS, self._sweep)
