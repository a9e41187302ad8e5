"""An endpoint's response, read while it is passed on: what the provider counted, and what was said so far. Pure.

Bytes go on as they came; of a stream only the one event is kept back that the caller had not asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from routemoa.clients import wire
from routemoa.core.types import Usage

__all__ = ["BodyTap", "EventTap", "ResponseTap", "tap_response"]

LINE_END = rb"(?>\r\n|\n|\r)"
BLANK = re.compile(LINE_END)
EVENT_END = re.compile(LINE_END + LINE_END)
REMEMBERED = 16 * 2**20  # bytes of a whole response, beyond which nobody looks for its usage


class ResponseTap(Protocol):
    """What is seen of a response. `usage` is the provider's, once it is there; `whole`: it counts the whole answer.

    `broken`: an event of it is no JSON, so that nobody could read on; nothing more goes on.
    """

    usage: Usage | None
    is_complete: bool
    is_broken: bool

    def feed(self, chunk: bytes) -> bytes:
        """Take bytes; those that go on now."""
        ...

    def end(self) -> bytes:
        """The response is over; what goes on still."""
        ...


def tap_response(content_type: str, say: Callable[[str], None], *, drop_usage: bool) -> ResponseTap:
    """What suits a response of this type; `say` is told the text of a stream."""
    stream = content_type.partition(";")[0].strip().lower() == "text/event-stream"
    return EventTap(say, drop_usage=drop_usage) if stream else BodyTap()


class BodyTap:
    """A response in one piece: it goes on when it is all there, since nobody can use a part of it.

    So one that breaks off can still be tried again, or become an error with a status. One that is very large goes on
    as it comes, and nobody looks for its usage.
    """

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.whole = False
        self.broken = False
        self._data: bytearray | None = bytearray()

    def feed(self, chunk: bytes) -> bytes:
        """Nothing goes on yet, but of what is very large."""
        if self._data is None:
            return chunk
        self._data += chunk
        return self._give_up() if len(self._data) > REMEMBERED else b""

    def end(self) -> bytes:
        """All of it; the usage is read."""
        data = self._give_up()
        found = wire.decode_json(data) if len(data) <= REMEMBERED else None
        if isinstance(found, dict) and isinstance(found.get("usage"), dict):
            self.usage, self.whole = wire.parse_usage(found["usage"]), True
        return data

    def _give_up(self) -> bytes:
        data, self._data = bytes(self._data or b""), None
        return data


class EventTap:
    """A stream of events. Each goes on when it is complete, so that what went on ends between two events.

    Args:
        say: told the text of each event, whoever of the answer's parts it belongs to.
        drop_usage: the caller did not ask for the event that holds nothing but token counts.
    """

    def __init__(self, say: Callable[[str], None], *, drop_usage: bool) -> None:
        self.usage: Usage | None = None
        self.whole = False
        self.broken = False
        self._say = say
        self._drop = drop_usage
        self._pending = b""
        self._half: bool | None = None  # the last event ended in CR, whose LF may follow; whether that goes on

    def feed(self, chunk: bytes) -> bytes:
        """The events that `chunk` completes."""
        out = bytearray()
        if chunk and self._half is not None:
            if chunk.startswith(b"\n"):
                out += b"\n" if self._half else b""
                chunk = chunk[1:]
            self._half = None
        seen, data = max(0, len(self._pending) - 3), self._pending + chunk
        start = 0
        while (found := BLANK.match(data, start) or EVENT_END.search(data, max(start, seen))) is not None:
            event, start = data[start : found.end()], found.end()
            keep = not self.broken and self._keeps(event)
            out += event if keep else b""
            self._half = keep if event.endswith(b"\r") and start == len(data) else None
        self._pending = data[start:]
        return bytes(out)

    def end(self) -> bytes:
        """What came of an event that was never completed."""
        rest, self._pending = self._pending, b""
        return rest if rest and not self.broken and self._keeps(rest, cut=True) else b""

    def _keeps(self, event: bytes, *, cut: bool = False) -> bool:
        """Read an event; whether it goes on. One that was cut in its middle is what it is."""
        parser = wire.SSEParser()
        for data in (*parser.feed(event), *parser.end()):
            chunk = wire.decode_json(data)
            if isinstance(chunk, dict) and self._is_usage(chunk):
                return not self._drop
            if not cut and isinstance(chunk, str) and chunk.strip() not in ("", "[DONE]"):
                self.broken = True
                return False
        return True

    def _is_usage(self, chunk: dict[str, Any]) -> bool:
        """Take in a chunk; whether it holds token counts and nothing of the answer."""
        usage, choices = chunk.get("usage"), chunk.get("choices")
        counted = isinstance(usage, dict) and bool(usage)
        if counted:
            self.usage = wire.parse_usage(usage)
        if isinstance(choices, list):
            for choice in choices:
                for text in _strings(choice.get("delta") if isinstance(choice, dict) else None):
                    self._say(text)
        self.whole = self.whole or (counted and choices == [])
        return counted and choices == []


def _strings(value: Any) -> Iterator[str]:
    """Every text in a delta: the answer, its reasoning, the arguments of a tool call."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, part in value.items():
            if key not in ("role", "type", "id"):
                yield from _strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from _strings(part)
