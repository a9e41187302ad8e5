"""Reads an endpoint's response while it is passed on: its usage, its text, its end, and whether it is an error. Pure.

Bytes are passed on as they came. The one exception is the event of token counts in a stream, where the caller did not
ask for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from routemoa.clients.protocol import wire
from routemoa.clients.protocol.sse import EVENT_STREAM, SSEParser, is_event_stream, split_event
from routemoa.clients.replies.completion import texts_of
from routemoa.clients.replies.endings import read_ending
from routemoa.clients.replies.errors import ReportedError, find_error
from routemoa.clients.replies.plain_chunk import read_plain_text
from routemoa.clients.replies.usage import UsageReader
from routemoa.core.errors import InvalidResponse, ModelError
from routemoa.core.tables.caps_table import ReplyCaps
from routemoa.core.usage import Usage
from routemoa.gateway.members.body_tap import BodyTap

__all__ = ["EventTap", "ReplyTap"]

LINE_END = rb"(?>\r\n|\n|\r)"
BLANK_LINES = re.compile(rb"[\r\n]++")
EVENT_END = re.compile(LINE_END + LINE_END)
MAX_HEAD_BYTES = 64 * 1024
"""White space before a response begins."""
DONE = "[DONE]"
MAX_PLAIN_BYTES = 16 * 1024
"""Bytes of an event's beginning beyond which its end is not looked for in the short way."""


class ReplyTap:
    """Taps a response: a stream or one in one piece, whatever its header says.

    Args:
        model: that answers.
        content_type: of the response's header.
        on_text: called with the text of each event of a stream, whichever part of the answer it belongs to.
        drop_usage: the caller did not ask for the event that contains only token counts.
        caps: of an event, and of a response in one piece.
    """

    def __init__(
        self,
        model: str,
        content_type: str,
        on_text: Callable[[str], object],
        *,
        drop_usage: bool,
        caps: ReplyCaps = ReplyCaps(),  # noqa: B008  (frozen)
    ) -> None:
        self.content_type = content_type
        """What the response is."""
        self._model, self._on_text, self._drop_usage, self._caps = model, on_text, drop_usage, caps
        self._head = b""
        self._tap: EventTap | BodyTap | None = None

    @property
    def is_stream(self) -> bool:
        """Return whether the response is a stream; known once its first bytes have come."""
        return isinstance(self._tap, EventTap)

    @property
    def is_complete_body(self) -> bool:
        """Return whether the response came in one piece, which has ended; a very large one is none."""
        return isinstance(self._tap, BodyTap) and self._tap.is_read

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait for the end of their event or of the response."""
        return 0 if self._tap is None else self._tap.waiting_bytes

    @property
    def usage(self) -> Usage | None:
        """The endpoint's figures, once they have come."""
        return self._tap.reader.usage if self._tap is not None and self._tap.reader.found else None

    @property
    def is_complete(self) -> bool:
        """Return whether `usage` counts the whole answer."""
        return self._tap is not None and self._tap.is_complete and self._tap.error is None

    @property
    def error(self) -> ModelError | None:
        """Return what the response is instead of an answer, as soon as it is known."""
        return None if self._tap is None else self._tap.error

    def feed(self, chunk: bytes) -> bytes:
        """Take bytes and return those to pass on now."""
        if self._tap is None:
            self._head += chunk
            declared = self.content_type.partition(";")[0].strip().lower()
            is_stream = is_event_stream(self._head, declared)
            if is_stream is None and len(self._head) <= MAX_HEAD_BYTES:
                return b""
            chunk = self._begin(is_stream=declared == EVENT_STREAM if is_stream is None else is_stream)
        assert self._tap is not None  # noqa: S101  (it has begun)
        return self._tap.feed(chunk)

    def end(self) -> bytes:
        """Take the end of the response and return what is still to be passed on."""
        rest = b""
        if self._tap is None:
            rest = self.feed(self._begin(is_stream=False))
        return rest + self._tap.end() if self._tap is not None else rest

    def _begin(self, *, is_stream: bool) -> bytes:
        """Choose the tap and return the bytes that it has to read."""
        self._tap = (
            EventTap(self._model, self._on_text, drop_usage=self._drop_usage, limit=self._caps.event_bytes)
            if is_stream
            else BodyTap(self._model, self._caps.body_bytes)
        )
        if is_stream and not self.content_type.lower().startswith(EVENT_STREAM):
            self.content_type = EVENT_STREAM
        head, self._head = self._head, b""
        return head


class EventTap:
    """Taps a stream. Each event is passed on when it is complete, so that what was passed on ends between two events.

    Args:
        model: that answers.
        on_text: called with the text of each event, whichever part of the answer it belongs to.
        drop_usage: the caller did not ask for the event that contains only token counts.
        limit: bytes of an event.
    """

    def __init__(
        self,
        model: str,
        on_text: Callable[[str], object],
        *,
        drop_usage: bool,
        limit: int = ReplyCaps().event_bytes,
    ) -> None:
        self._limit = limit
        self.reader = UsageReader()
        self.is_complete = False
        self.error: ModelError | None = None
        """An error in an event, or an event that is no JSON, so that a client could not read on."""
        self._model = model
        self._on_text = on_text
        self._drop_usage = drop_usage
        self._has_answer = False  # a choice came
        self._is_ended = False  # a reason to end came, or [DONE]
        self._pending = bytearray()
        self._last_cr_passed: bool | None = None
        """Whether the last event was passed on, where it ended in a CR whose LF may follow; else None."""

    def feed(self, chunk: bytes) -> bytes:
        """Return the events that `chunk` completes, up to an error, which is returned as well if it can be read."""
        if (plain := self._read_plain(chunk)) is not None:
            return plain
        out = bytearray()
        if chunk and self._last_cr_passed is not None:
            if chunk.startswith(b"\n"):
                out += b"\n" if self._last_cr_passed else b""
                chunk = chunk[1:]
            self._last_cr_passed = None
        searched, data = max(0, len(self._pending) - 3), self._pending
        data += chunk
        start = 0
        while (found := BLANK_LINES.match(data, start) or EVENT_END.search(data, max(start, searched))) is not None:
            event, start = bytes(data[start : found.end()]), found.end()
            passed = self.error is None and self._read_event(event)
            out += event if passed else b""
            self._last_cr_passed = passed if event.endswith(b"\r") and start == len(data) else None
        del data[:start]
        if len(data) > self._limit and self.error is None:
            reason = f"an event of the stream is larger than {self._limit} bytes"
            self.error = InvalidResponse(self._model, reason, produced=self._has_answer)
            data.clear()
        return bytes(out)

    def _read_plain(self, chunk: bytes) -> bytes | None:
        """Read events that hold nothing but text and return them; None where there is anything else, or none."""
        if self._last_cr_passed is not None or self.error is not None or len(self._pending) > MAX_PLAIN_BYTES:
            return None
        data = self._pending + chunk
        end = data.rfind(b"\n\n") + 2
        if end < 2 or len(data) - end > self._limit:
            return None
        texts: list[str] = []
        for event in bytes(data[: end - 2]).split(b"\n\n"):
            if (text := _plain_text(event)) is None:
                return None
            texts.append(text)
        self._has_answer = True
        self._on_text("".join(texts))
        self._pending = data[end:]
        return bytes(data[:end])

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait for the end of their event."""
        return len(self._pending)

    def end(self) -> bytes:
        """Return the beginning of an event that was never completed; note where the stream was cut off."""
        rest = bytes(self._pending)
        self._pending.clear()
        rest = rest if rest and self.error is None and self._read_event(rest, cut=True) else b""
        if self.error is None and not self._is_ended:
            self.error = (
                InvalidResponse(self._model, "the stream was cut off before its end", produced=True)
                if self._has_answer
                else wire.make_reported_error(self._model, ReportedError("the stream is empty"))
            )
        return rest

    def _read_event(self, event: bytes, *, cut: bool = False) -> bool:
        """Read an event and return whether to pass it on; a `cut` one need not be JSON."""
        if event.endswith(b"\n\n") and (text := _plain_text(event[:-2])) is not None:
            self._has_answer = True
            self._on_text(text)
            return True
        if b"data" not in event and b"error" not in event:  # a blank line, a comment
            return True
        parser = SSEParser()
        parts = [part for whole in (*parser.feed(event), *parser.end()) for part in split_event(whole)]
        for data, name in parts:
            if data == DONE:
                self._is_ended = True
                continue
            chunk = wire.decode_json(data)
            if (error := find_error(chunk, name)) is not None:
                self.error = wire.make_reported_error(self._model, error, data.encode())
                self.error.produced = self._has_answer
                return True
            if isinstance(chunk, dict) and self._read_chunk(chunk):
                return not self._drop_usage
            if not cut and isinstance(chunk, str):
                self.error = InvalidResponse(self._model, "an event of the stream is not JSON", produced=True)
                return False
        return True

    def _read_chunk(self, chunk: dict[str, Any]) -> bool:
        """Read a chunk and return whether it contains only token counts."""
        choices = chunk.get("choices")
        has_usage = self.reader.add(chunk)
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self._has_answer = True
                self._is_ended = self._is_ended or read_ending(choice.get("finish_reason")) is not None
                for text in texts_of([choice.get("delta"), choice.get("text")]):
                    self._on_text(text)
        only_usage = has_usage and choices == []
        self.is_complete = self.is_complete or only_usage
        return only_usage


def _plain_text(event: bytes) -> str | None:
    """Return the text of an event that holds nothing else, without its blank line; None for any other."""
    if not event.startswith(b"data: {") or b"\n" in event or b"\r" in event:
        return None
    return read_plain_text(event[6:])
