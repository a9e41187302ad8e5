"""Makes text from models, endpoints and files safe to print on a terminal."""

from __future__ import annotations

import re

__all__ = ["PrintableStream", "printable", "printable_line"]

MAX_SEQUENCE = 1024
"""Characters of the longest escape sequence that is removed as a whole; of a longer one its control characters are."""

_OPENERS = "\x1b\x90\x98\x9b\x9d\x9e\x9f"
_UNSAFE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colors, cursor, erasing
    rf"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x9c{_OPENERS}]{{0,{MAX_SEQUENCE}}}(?:\x07|\x9c|\x1b\\)"  # titles
    r"|\x1b[ -/]*[0-Z\\-~]"  # character sets, modes; not a sequence's beginning
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"  # all other control characters but tab and newline
    r"|[\u202a-\u202e\u2066-\u2069]"  # they reverse the order of what follows
    r"|[\ud800-\udfff]"  # halves of characters, which no terminal can show
)
_UNFINISHED = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*\Z"
    rf"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x9c{_OPENERS}]{{0,{MAX_SEQUENCE}}}\x1b?\Z"
    r"|\x1b[ -/]*\Z"
)


def printable(text: str) -> str:
    """Return the text without escape sequences and control characters; lines and tabs are kept."""
    return _UNSAFE.sub(lambda m: "\ufffd" if "\ud800" <= m[0][0] <= "\udfff" else "", text)


def printable_line(text: str) -> str:
    """Return the text on one line, without escape sequences and control characters."""
    return " ".join(printable(text).split())


class PrintableStream:
    """Makes a text printable that comes in pieces: a sequence that is split between two is removed, too."""

    def __init__(self) -> None:
        self._unfinished = ""

    def feed(self, piece: str) -> str:
        """Return what can be printed by now."""
        text, self._unfinished = self._unfinished + piece, ""
        # The last two openers: the end of a title is an escape sequence itself.
        last = max(map(text.rfind, _OPENERS))
        before = max(text.rfind(opener, 0, last) for opener in _OPENERS) if last > 0 else -1
        for start in (before, last):
            if start >= 0 and len(text) - start <= MAX_SEQUENCE and _UNFINISHED.match(text, start):
                text, self._unfinished = text[:start], text[start:]
                break
        return printable(text)

    def finish(self) -> str:
        """Return what is left at the end of the text."""
        rest, self._unfinished = self._unfinished, ""
        return printable(rest)
