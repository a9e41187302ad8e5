"""Reads the body of an endpoint's response: decompressed, and in small pieces."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable

from routemoa.clients.connections.error_words import system_reason
from routemoa.clients.connections.response import HttpResponse, MalformedResponse
from routemoa.core.errors import InvalidResponse, ModelTimeout, Unreachable

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

    def __init__(self, model: str, response: HttpResponse) -> None:
        self._model, self._response = model, response
        self._encoding = response.headers.get("content-encoding", "").strip().lower()
        self._inflater = None if self._encoding in PLAIN else zlib.decompressobj(WINDOW_BITS.get(self._encoding, 31))
        self._compressed = b""  # that was read and not decompressed
        self._has_begun = False
        self._gave_full_piece = False  # so that more may have come together with it

    async def read_within(self, wait: float, reason: str) -> bytes:
        """Return the next piece, which has to come within `wait` seconds; none at the end.

        Raises:
            ModelTimeout: for `reason`, since it did not.
            Unreachable: the connection was lost.
            InvalidResponse: it cannot be decompressed, or is no HTTP.
        """
        if self._gave_full_piece:
            await asyncio.sleep(0)
        try:
            piece = await self._read(wait)
        except TimeoutError as e:
            raise ModelTimeout(self._model, reason) from e
        except MalformedResponse as e:
            raise InvalidResponse(self._model, f"the response is no HTTP: {e}") from e
        except OSError as e:
            raise Unreachable(self._model, f"the connection was lost: {system_reason(e)}", sent=True) from e
        self._gave_full_piece = len(piece) == PIECE_BYTES
        return piece

    async def read_start(self, limit: int) -> bytes:
        """Return the first bytes, `limit` at most. Raises OSError, MalformedResponse, InvalidResponse."""
        data = b""
        while len(data) < limit and (piece := await self._read(None)):
            data += piece
        return data[:limit]

    @property
    def is_at_end(self) -> bool:
        """Return whether all of it was read; of a compressed one that is not known before."""
        return self._inflater is None and self._response.is_at_end

    def _read(self, wait: float | None) -> Awaitable[bytes]:
        if self._inflater is None:
            return self._response.read(PIECE_BYTES, wait)
        return self._read_compressed(wait)

    async def _read_compressed(self, wait: float | None) -> bytes:
        async with asyncio.timeout(wait):
            return await self._decompressed()

    async def _decompressed(self) -> bytes:
        """Return the next bytes in small parts; none at the end. Raises OSError, MalformedResponse, InvalidResponse."""
        if self._encoding not in WINDOW_BITS:
            raise InvalidResponse(self._model, f"the reply is compressed ({self._encoding[:20]!r}), unasked for")
        while True:
            if not self._compressed and not (compressed := await self._response.read(PIECE_BYTES)):
                return b""
            if data := self._inflate(self._compressed or compressed):
                self._has_begun = True
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
