"""Server-sent events as endpoints send them (WHATWG HTML, section 9.2). Pure."""

from __future__ import annotations

import codecs
from typing import NamedTuple

__all__ = ["EVENT_STREAM", "SSEEvent", "SSEParser", "is_event_stream", "split_event"]

EVENT_STREAM = "text/event-stream"
_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b"error:", b":")
"""With one of these begins the first line of a stream of events."""
_LONGEST_FIELD = max(map(len, _FIELDS))
_BLANK = b"\xef\xbb\xbf \t\r\n"


class SSEEvent(NamedTuple):
    """One event."""

    data: str
    name: str = ""


class SSEParser:
    """Splits bytes into whole server-sent events that have data, wherever the bytes were cut."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")  # a leading BOM is no text
        self._line: list[str] = []  # the beginning of a line, in parts
        self._data: list[str] = []
        self._name = ""

    def feed(self, chunk: bytes) -> list[SSEEvent]:
        """Return the events that `chunk` completes."""
        text = self._decoder.decode(chunk)
        if self._line and self._line[-1].endswith("\r"):  # half of a CRLF, or a CR alone
            text = self._line.pop() + text
        if "\n" not in text and "\r" not in text[:-1]:
            self._line.append(text)
            return []
        # A lone CR at the very end may be half of a CRLF: wait for what follows.
        whole = text[:-1] if text.endswith("\r") else text
        first, *lines = _split_lines(whole)  # what came before holds no line end
        lines = ["".join((*self._line, first)), *lines]
        self._line = [lines.pop(), text[len(whole) :]]
        return [event for line in lines if (event := self._read_line(line)) is not None]

    def end(self) -> list[SSEEvent]:
        """Return the last event of a stream whose final blank line never came."""
        return [*self.feed(b"\n"), *self.feed(b"\n")]

    def _read_line(self, line: str) -> SSEEvent | None:
        if line:
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "data":
                self._data.append(value)
            elif field == "event":
                self._name = value
            elif field == "error":  # no field of the standard: llama.cpp wrote its errors so until September 2025
                self._data.append(value)
                self._name = "error"
            return None  # comments (no field name) and other fields carry nothing for us
        name, self._name = self._name, ""
        if not self._data:
            return None
        data = "\n".join(self._data)
        self._data.clear()
        return SSEEvent(data, name)


def _split_lines(text: str) -> list[str]:
    """Return the lines of a text; many times as fast as a regular expression."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.split("\n")


def split_event(event: SSEEvent) -> list[SSEEvent]:
    """Return the events in the data of one, without those that are blank.

    Some endpoints end an event with its line, not with a blank one: then each line is an object of its own.
    """
    data = event.data.strip()
    if "\n" not in data:
        return [SSEEvent(data, event.name)] if data else []
    lines = [line.strip() for line in data.split("\n") if line.strip()]
    if all(line == "[DONE]" or (line[0] == "{" and line[-1] == "}") for line in lines):
        return [SSEEvent(line, event.name) for line in lines]
    return [SSEEvent(data, event.name)]


def is_event_stream(head: bytes, content_type: str) -> bool | None:
    """Return whether a reply is a stream of events, whatever its header says; None where the head is too short.

    Args:
        head: the first bytes.
        content_type: of the header; decides where the bytes do not.
    """
    start = head.lstrip(_BLANK)
    if len(start) < _LONGEST_FIELD and any(field.startswith(start) and field != start for field in _FIELDS):
        return None
    if start.startswith(_FIELDS):
        return True
    return content_type == EVENT_STREAM and start[:1] not in b"{[<"
