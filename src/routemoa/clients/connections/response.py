"""The response to one request: its head, and its body as it comes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Protocol

from routemoa.core.system.cheap_timers import start_timer

__all__ = ["HttpResponse", "MalformedResponse"]

READ_BUFFER = 32 * 1024
"""Bytes of a body that are read before somebody takes them; then its connection pauses."""


class MalformedResponse(Exception):
    """What an endpoint sent is no HTTP, or too much of it."""


class Source(Protocol):
    """The connection that a response comes from."""

    def resume(self) -> None:
        """Read on."""
        ...

    def leave(self, response: HttpResponse) -> None:
        """Be done with a response."""
        ...


class HttpResponse:
    """The response to one request. It must be left.

    Args:
        source: gives it more.
        loop: that it is read in.
    """

    def __init__(self, source: Source, loop: asyncio.AbstractEventLoop) -> None:
        self.status = 0
        self.headers: Mapping[str, str] = {}
        """Their names in lower case; of several with one name the first."""
        self.is_complete = False
        """Whether all of it has come."""
        self._source, self._loop = source, loop
        self._pieces: deque[bytes | memoryview] = deque()
        self._size = 0  # of the pieces
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def media_type(self) -> str:
        """Return the content type without what may stand behind it."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def leave(self) -> None:
        """Give its connection back, or close it where the response is not at its end."""
        self._source.leave(self)

    # --- what is read of it

    @property
    def is_at_end(self) -> bool:
        """Return whether all of the body was read."""
        return self.is_complete and not self._pieces

    async def read(self, limit: int, seconds: float | None = None) -> bytes:
        """Return the next bytes of the body, which have to come in time; none at its end.

        Raises:
            OSError: the connection was lost; TimeoutError among them.
            MalformedResponse: what came is no HTTP.
        """
        if not self._pieces and not self.is_complete and self._error is None:
            await self._wait(seconds)
        if not self._pieces:
            if self._error is not None:
                raise self._error
            return b""
        piece = self._pieces.popleft()
        if self._pieces and len(piece) < limit:  # small ones that have come together are given together
            piece = self._join(piece, limit)
        if len(piece) > limit:
            rest = memoryview(piece)  # which is cut without a copy: a large piece is given in many
            self._pieces.appendleft(rest[limit:])
            piece = rest[:limit]
        size, self._size = self._size, self._size - len(piece)
        if size > READ_BUFFER >= self._size:
            self._source.resume()
        return bytes(piece)

    def _join(self, first: bytes | memoryview, limit: int) -> bytes:
        joined, size = [first], len(first)
        while self._pieces and (size := size + len(self._pieces[0])) <= limit:
            joined.append(self._pieces.popleft())
        return b"".join(joined)

    async def wait_for_head(self, seconds: float) -> None:
        """Wait for the head. Raises OSError, MalformedResponse, TimeoutError."""
        if not self.status and self._error is None:
            await self._wait(seconds)
        if not self.status and self._error is not None:
            raise self._error

    # --- what comes

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Take the head."""
        self.status, self.headers = status, headers
        self._wake()

    @property
    def is_full(self) -> bool:
        """Return whether no more should be read for now."""
        return self._size > READ_BUFFER

    def feed(self, piece: bytes) -> None:
        """Take a piece of the body."""
        self._pieces.append(piece)
        self._size += len(piece)
        if self._waiter is not None:
            self._wake()

    def end(self, error: Exception | None = None) -> None:
        """Take the end; with an error nothing comes after what was read so far."""
        if not self.is_complete and self._error is None:
            self.is_complete, self._error = error is None, error
            if self._waiter is not None:
                self._wake()

    async def _wait(self, seconds: float | None) -> None:
        """Wait until more has come: the head, a piece of the body, its end or an error. Raises TimeoutError."""
        self._waiter = self._loop.create_future()
        waiting = None if seconds is None else start_timer(self._loop, seconds, self._expire)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if waiting is not None:
                waiting.discard(self._expire)

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _expire(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(TimeoutError())
