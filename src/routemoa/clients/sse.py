"""Server-sent events as endpoints send them (WHATWG HTML, section 9.2). Pure."""

from __future__ import annotations

import codecs
import re

__all__ = ["SSEParser"]


class SSEParser:
    """Splits bytes into the data of whole server-sent events, wherever the bytes were cut."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")  # a leading BOM is no text
        self._pending = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[str]:
        """Return the data of the events that `chunk` completes."""
        self._pending += self._decoder.decode(chunk)
        # A lone CR at the very end may be half of a CRLF: wait for what follows.
        whole = self._pending[:-1] if self._pending.endswith("\r") else self._pending
        *lines, rest = re.split(r"\r\n|\n|\r", whole)
        self._pending = rest + self._pending[len(whole) :]
        return [event for line in lines if (event := self._line(line)) is not None]

    def end(self) -> list[str]:
        """Return the data of the last event of a stream whose final blank line never came."""
        return [*self.feed(b"\n"), *self.feed(b"\n")]

    def _line(self, line: str) -> str | None:
        if line:
            field, _, value = line.partition(":")
            if field == "data":
                self._data.append(value.removeprefix(" "))
            return None  # comments (no field name) and other fields carry nothing for us
        if not self._data:
            return None
        event = "\n".join(self._data)
        self._data.clear()
        return event
