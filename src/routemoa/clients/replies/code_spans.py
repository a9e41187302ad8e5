"""Tells whether the end of a Markdown text is inside a code block or inline code. Pure."""

from __future__ import annotations

import re

__all__ = ["CodeSpans"]

_FENCE = re.compile(r"[ \t>]*(`{3,}(?=[^`\n]*$)|~{3,})")
_RUN = re.compile(r"`+")


class CodeSpans:
    """Reads a text part by part; a part never ends within a run of backticks."""

    def __init__(self) -> None:
        self.line_is_blank = True
        """Whether the last line has only white space so far."""
        self._fence = ""
        self._open_run = 0  # backticks that opened inline code on this line

    @property
    def in_block(self) -> bool:
        """Return whether a code block is open; one that is never closed goes on to the end of the text."""
        return bool(self._fence)

    @property
    def in_line(self) -> bool:
        """Return whether inline code is open on the last line."""
        return self._open_run > 0

    def advance(self, text: str) -> None:
        """Read the next part of the text."""
        first, *others = text.split("\n")
        self._read_line(first)
        for line in others:
            self.line_is_blank, self._open_run = True, 0
            self._read_line(line)

    def _read_line(self, line: str) -> None:
        """Read a line, or the next part of one."""
        fence = _FENCE.match(line) if self.line_is_blank else None
        self.line_is_blank = self.line_is_blank and not line.strip()
        if self._fence:
            if fence and fence[1].startswith(self._fence) and not line[fence.end() :].strip():
                self._fence = ""
        elif fence:
            self._fence = fence[1]
        else:
            for run in _RUN.finditer(line):
                length = len(run[0])
                if not self._open_run:
                    self._open_run = length
                elif length == self._open_run:
                    self._open_run = 0
