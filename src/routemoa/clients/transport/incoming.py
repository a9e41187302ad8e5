"""Reads the body of an endpoint's response: decompressed, and in small pieces."""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING

from routemoa.clients.transport.sessions import system_reason
from routemoa.core.errors import InvalidResponse, ModelTimeout, Unreachable

if TYPE_CHECKING:
    import aiohttp

__all__ = ["PIECE_BYTES", "IncomingBody"]

PIECE_BYTES = 8 * 1024
"""Given at once; between two pieces of what has come together, other tasks run."""
PLAIN = {"", "identity"}
WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""Encoding -> what zlib calls it. We ask for none, but some endpoints compress all the same."""


class IncomingBody:
    """The body of one response.

    Args:
        model: the name of the member that sends it.
        response: with the body as it comes, not decompressed.
    """

    def __init__(self, model: str, response: aiohttp.ClientResponse) -> None:
        self._model = model
        self._content = response.content
        self._encoding = response.headers.get("Content-Encoding", "").strip().lower()
        self._inflater = None if self._encoding in PLAIN else zlib.decompressobj(WINDOW_BITS.get(self._encoding, 31))
        self._compressed = b""  # that was read and not decompressed
        self._ready = memoryview(b"")  # that was read and not given
        self._has_begun = False
        self._gave_full_piece = False  # without waiting, so that more may have come together with it

    async def read(self) -> bytes:
        """Return the next piece; none at the end.

        Raises:
            InvalidResponse: it cannot be decompressed.
            aiohttp.ClientError: the connection was lost.
        """
        if self._ready or self._compressed:
            await asyncio.sleep(0)
        while not self._ready:
            data = await self._decompressed()
            if not data:
                return b""
            self._ready = memoryview(data)
            self._has_begun = True
        piece, self._ready = bytes(self._ready[:PIECE_BYTES]), self._ready[PIECE_BYTES:]
        return piece

    async def read_within(self, wait: float, reason: str) -> bytes:
        """Return the next piece, which has to come within `wait` seconds; none at the end.

        Raises:
            ModelTimeout: for `reason`, since it did not.
            Unreachable: the connection was lost.
            InvalidResponse: it cannot be decompressed.
        """
        import aiohttp

        if self._gave_full_piece:
            await asyncio.sleep(0)
        try:
            if (ready := self._read_ready()) is not None:
                self._gave_full_piece = len(ready) == PIECE_BYTES
                return ready
            self._gave_full_piece = False
            async with asyncio.timeout(wait):
                return await self.read()
        except TimeoutError as e:
            raise ModelTimeout(self._model, reason) from e
        except (aiohttp.ClientError, OSError) as e:
            raise Unreachable(self._model, f"the connection was lost: {system_reason(e)}", sent=True) from e

    def _read_ready(self) -> bytes | None:
        """Return the next piece where it has come and is all that has, or the end; None where `read` has to.

        Raises:
            aiohttp.ClientError: the connection was lost.
        """
        if self._inflater is not None or self._ready:
            return None
        if self._content.at_eof():
            return b""
        return self._content.read_nowait(PIECE_BYTES) or None

    async def read_start(self, limit: int) -> bytes:
        """Return the first bytes, `limit` at most. Raises as `read` does."""
        data = b""
        while len(data) < limit and (piece := await self.read()):
            data += piece
        return data[:limit]

    async def _decompressed(self) -> bytes:
        """Return bytes that have come, decompressed in small parts; none at the end."""
        if self._inflater is None:
            return await self._content.readany()
        if self._encoding not in WINDOW_BITS:
            raise InvalidResponse(self._model, f"the reply is compressed ({self._encoding[:20]!r}), unasked for")
        while True:
            if not self._compressed and not (compressed := await self._content.readany()):
                return b""
            data = self._inflate(self._compressed or compressed)
            if data:
                return data

    def _inflate(self, compressed: bytes) -> bytes:
        assert self._inflater is not None  # noqa: S101  (the body is compressed)
        try:
            data = self._inflater.decompress(compressed, PIECE_BYTES)
        except zlib.error as e:
            if self._encoding != "deflate" or self._has_begun:
                raise InvalidResponse(self._model, f"the reply cannot be decompressed ({self._encoding})") from e
            self._inflater = zlib.decompressobj(-15)  # without the header, as some send it
            return self._inflate(compressed)
        if self._inflater.eof and self._inflater.unused_data:  # several files, one behind the other
            self._compressed = self._inflater.unused_data
            self._inflater = zlib.decompressobj(31)
        else:
            self._compressed = self._inflater.unconsumed_tail
        return data
