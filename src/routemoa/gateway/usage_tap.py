"""Reads the usage and the text of an endpoint's response while it is passed on. Pure.

Bytes are passed on as they came. The one exception is the event of token counts in a stream, where the caller did not
ask for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from routemoa.clients import wire
from routemoa.clients.sse import SSEParser
from routemoa.core.types import Usage

__all__ = ["BodyTap", "EventTap", "ResponseTap", "tap_response"]

LINE_END = rb"(?>\r\n|\n|\r)"
BLANK_LINE = re.compile(LINE_END)
EVENT_END = re.compile(LINE_END + LINE_END)
MAX_BUFFERED_BYTES = 16 * 2**20
"""Of a response in one piece; the usage of a larger one is not read."""


class ResponseTap(Protocol):
    """Reads a response while it passes through."""

    usage: Usage | None
    """The provider's figures, once they have come."""
    is_complete: bool
    """Whether `usage` counts the whole answer."""
    is_broken: bool
    """Whether an event was not JSON, so that a client could not read on; nothing more is passed on."""

    def feed(self, chunk: bytes) -> bytes:
        """Take bytes and return those to pass on now."""
        ...

    def end(self) -> bytes:
        """Take the end of the response and return what is still to be passed on."""
        ...


def tap_response(content_type: str, on_text: Callable[[str], None], *, drop_usage: bool) -> ResponseTap:
    """Return the tap for a response of this content type; `on_text` is called with the text of a stream."""
    is_stream = content_type.partition(";")[0].strip().lower() == "text/event-stream"
    return EventTap(on_text, drop_usage=drop_usage) if is_stream else BodyTap()


class BodyTap:
    """Taps a response in one piece, which is passed on when it is complete.

    So a response that breaks off can still be tried again, or become an error with a status. A very large one is
    passed on as it comes, without reading its usage.
    """

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.is_complete = False
        self.is_broken = False
        self._buffer: bytearray | None = bytearray()

    def feed(self, chunk: bytes) -> bytes:
        """Buffer bytes; return them only where the response is very large."""
        if self._buffer is None:
            return chunk
        self._buffer += chunk
        return self._release() if len(self._buffer) > MAX_BUFFERED_BYTES else b""

    def end(self) -> bytes:
        """Read the usage and return the response."""
        data = self._release()
        body = wire.decode_json(data) if len(data) <= MAX_BUFFERED_BYTES else None
        if isinstance(body, dict) and isinstance(body.get("usage"), dict):
            self.usage, self.is_complete = wire.parse_usage(body["usage"]), True
        return data

    def _release(self) -> bytes:
        data, self._buffer = bytes(self._buffer or b""), None
        return data


class EventTap:
    """Taps a stream. Each event is passed on when it is complete, so that what was passed on ends between two events.

    Args:
        on_text: called with the text of each event, whichever part of the answer it belongs to.
        drop_usage: the caller did not ask for the event that contains only token counts.
    """

    def __init__(self, on_text: Callable[[str], None], *, drop_usage: bool) -> None:
        self.usage: Usage | None = None
        self.is_complete = False
        self.is_broken = False
        self._on_text = on_text
        self._drop_usage = drop_usage
        self._pending = b""
        self._last_cr_passed: bool | None = None
        """Whether the last event was passed on, where it ended in a CR whose LF may follow; else None."""

    def feed(self, chunk: bytes) -> bytes:
        """Return the events that `chunk` completes."""
        out = bytearray()
        if chunk and self._last_cr_passed is not None:
            if chunk.startswith(b"\n"):
                out += b"\n" if self._last_cr_passed else b""
                chunk = chunk[1:]
            self._last_cr_passed = None
        searched, data = max(0, len(self._pending) - 3), self._pending + chunk
        start = 0
        while (found := BLANK_LINE.match(data, start) or EVENT_END.search(data, max(start, searched))) is not None:
            event, start = data[start : found.end()], found.end()
            passed = not self.is_broken and self._read_event(event)
            out += event if passed else b""
            self._last_cr_passed = passed if event.endswith(b"\r") and start == len(data) else None
        self._pending = data[start:]
        return bytes(out)

    def end(self) -> bytes:
        """Return the beginning of an event that was never completed."""
        rest, self._pending = self._pending, b""
        return rest if rest and not self.is_broken and self._read_event(rest, cut=True) else b""

    def _read_event(self, event: bytes, *, cut: bool = False) -> bool:
        """Read an event and return whether to pass it on; a `cut` one need not be JSON."""
        parser = SSEParser()
        for data in (*parser.feed(event), *parser.end()):
            chunk = wire.decode_json(data)
            if isinstance(chunk, dict) and self._read_chunk(chunk):
                return not self._drop_usage
            if not cut and isinstance(chunk, str) and chunk.strip() not in ("", "[DONE]"):
                self.is_broken = True
                return False
        return True

    def _read_chunk(self, chunk: dict[str, Any]) -> bool:
        """Read a chunk and return whether it contains only token counts."""
        usage, choices = chunk.get("usage"), chunk.get("choices")
        has_usage = isinstance(usage, dict) and bool(usage)
        if has_usage:
            self.usage = wire.parse_usage(usage)
        if isinstance(choices, list):
            for choice in choices:
                for text in _texts(choice.get("delta") if isinstance(choice, dict) else None):
                    self._on_text(text)
        only_usage = has_usage and choices == []
        self.is_complete = self.is_complete or only_usage
        return only_usage


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in a delta: the answer, its reasoning, the arguments of a tool call."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, part in value.items():
            if key not in ("role", "type", "id"):
                yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)
