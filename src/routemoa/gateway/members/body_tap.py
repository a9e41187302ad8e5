"""Reads a response in one piece while it is passed on: its usage, and whether it is an error. Pure."""

from __future__ import annotations

from routemoa.clients.protocol import wire
from routemoa.clients.replies.usage import UsageReader
from routemoa.core.errors import ModelError
from routemoa.core.tables.caps_table import ReplyCaps

__all__ = ["BodyTap"]


class BodyTap:
    """Taps a response in one piece, which is passed on when it is complete.

    So a response that breaks off can still be tried again, or become an error with a status. A very large one is
    passed on as it comes, without reading its usage.

    Args:
        model: that answers.
        limit: bytes of what is read.
    """

    def __init__(self, model: str, limit: int = ReplyCaps().body_bytes) -> None:
        self._limit = limit
        self.reader = UsageReader()
        self.is_complete = False
        self.is_read = False
        """Whether it came to its end and was read."""
        self.error: ModelError | None = None
        self._model = model
        self._buffer: bytearray | None = bytearray()

    def feed(self, chunk: bytes) -> bytes:
        """Buffer bytes; return them only where the response is very large."""
        if self._buffer is None:
            return chunk
        self._buffer += chunk
        return self._release() if len(self._buffer) > self._limit else b""

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait for the end of the response."""
        return len(self._buffer or b"")

    def end(self) -> bytes:
        """Read the response and return it; nothing where it is an error."""
        if self._buffer is None:
            return b""
        data = self._release()
        try:
            body = wire.parse_body(self._model, data)
        except ModelError as e:
            self.error = e
            return b""
        self.is_complete, self.is_read = self.reader.add(body), True
        return data

    def _release(self) -> bytes:
        data, self._buffer = bytes(self._buffer or b""), None
        return data
