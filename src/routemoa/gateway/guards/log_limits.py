"""Bounds the log: lines of the same kind are counted, not repeated, and no line is longer than a screen."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from time import monotonic
from types import TracebackType

from routemoa.core.text.quoted import Quoted

__all__ = ["LineFormatter", "RedactFilter", "RepeatFilter"]

LINES_PER_KIND = 10
WINDOW = 60.0
"""Seconds in which so many lines of one kind are logged."""
MAX_KINDS = 500
MAX_LINE = 1000
"""Characters of a message."""
SHOWN_FRAMES = 5
"""Of a traceback that is redacted."""
MAX_TRACEBACK = 20_000
"""Characters of a traceback."""


class RepeatFilter(logging.Filter):
    """Passes the first lines of each kind in a minute; the next minute's first line says how many were left out.

    A kind is the template of a message, so that lines that differ in what they name are one kind.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._kinds: dict[tuple[str, int, str], list[float]] = {}  # beginning of the window, lines in it

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log a line; what is less than a warning was asked for, and always is."""
        if record.levelno < logging.WARNING:
            return True
        now = self._clock()
        kind = (record.name, record.levelno, str(record.msg)[:MAX_LINE])
        if kind not in self._kinds and len(self._kinds) >= MAX_KINDS:
            self._kinds.clear()
        window = self._kinds.setdefault(kind, [now, 0.0])
        if now - window[0] >= WINDOW:
            left_out = int(window[1]) - LINES_PER_KIND
            window[:] = [now, 0.0]
            if left_out > 0:
                record.msg, record.args = f"{_message(record)} ({left_out} more lines like this were left out)", None
        window[1] += 1
        if window[1] == LINES_PER_KIND:
            record.msg = f"{_message(record)} (more lines like this are left out for {WINDOW:.0f} s)"
            record.args = None
        return window[1] <= LINES_PER_KIND


class RedactFilter(logging.Filter):
    """Leaves out words that are not ours: those of endpoints, and those of an exception, whose place stays.

    It goes before a filter that writes messages out.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Change a line; all are logged."""
        if isinstance(record.args, tuple):
            record.args = tuple(a.instead if isinstance(a, Quoted) else _name_foreign(a) for a in record.args)
        if record.exc_info and record.exc_info[0] is not None:
            where = _describe_place(record.exc_info[2])
            record.msg, record.args = f"{_message(record)}: {record.exc_info[0].__name__}{where}", None
            record.exc_info = record.exc_text = None
        return True


class LineFormatter(logging.Formatter):
    """Formats a record as one bounded line, without control characters; a traceback follows on lines of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line."""
        text = super().formatMessage(record)
        text = text if len(text) <= MAX_LINE else f"{text[:MAX_LINE]}... ({len(text)} characters)"
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)

    def formatException(self, ei: object) -> str:
        """Return the end of a traceback."""
        text = super().formatException(ei)  # type: ignore[arg-type]
        return text if len(text) <= MAX_TRACEBACK else f"...{text[-MAX_TRACEBACK:]}"


def _name_foreign(argument: object) -> object:
    """Return the type's name for an exception that is not of ours, else the argument."""
    is_foreign = isinstance(argument, BaseException) and not type(argument).__module__.startswith("routemoa.")
    return type(argument).__name__ if is_foreign else argument


def _describe_place(trace: TracebackType | None) -> str:
    """Return the innermost calls of a traceback, without a line of their code."""
    frames = traceback.extract_tb(trace)[-SHOWN_FRAMES:]
    return "".join(f"; {frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames)


def _message(record: logging.LogRecord) -> str:
    return record.getMessage()
