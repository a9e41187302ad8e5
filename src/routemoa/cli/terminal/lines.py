"""Lines of text: folded between words on a terminal, left as they are in a pipe or a file."""

from __future__ import annotations

import os
import re
import shutil
import sys
from typing import Any, TextIO

import click

__all__ = ["WordFolder", "fold_line", "print_line", "terminal_width"]

MIN_WIDTH = 20
_WIDE = "\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\uffe0-\uffe6"
_CLOSERS = "\u3001\u3002\uff0c\uff0e\uff1a\uff1b\uff01\uff1f\uff09\u300d\u300f\u3011"  # they begin no line
_PART = re.compile(rf"\n|[^\S\n]+|[{_WIDE}][{_CLOSERS}]*|[^\s{_WIDE}]+")
"""A line end, white space, a character of a script without spaces, or a word."""
_MARKER = re.compile(r"[-*+•]|\d{1,3}[.)]")
"""Begins an item of a list."""
CODE_INDENT = 4


def print_line(line: str, *, err: bool = False, indent: str = "  ") -> None:
    """Print a line for people to read; on a terminal its continuation lines begin with `indent`."""
    click.echo(fold_line(line, err=err, indent=indent), err=err)


def fold_line(line: str, *, err: bool = False, indent: str = "  ") -> str:
    """Return a line as it is printed on standard output, or with `err` on standard error."""
    stream = sys.stderr if err else sys.stdout
    if not stream.isatty():
        return line
    folder = WordFolder(terminal_width(stream), indent)
    return folder.feed(line) + folder.finish()


def terminal_width(stream: TextIO | Any) -> int:
    """Return the characters of a line of this terminal; $COLUMNS, where it is set, tells."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit() and int(columns):
        return int(columns)
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return shutil.get_terminal_size().columns


class WordFolder:
    """Folds text that comes in pieces between its words. The work is linear in the length of the text.

    A word is held back until its end is known, but not longer than a line.

    Args:
        width: characters of a line.
        indent: begins the continuation of a line.
        markdown: leave code blocks and the rows of tables as they are; continue lists and indented lines below their
            text.
    """

    def __init__(self, width: int, indent: str = "", *, markdown: bool = False) -> None:
        self._width = max(MIN_WIDTH, width)
        self._indent = indent
        self._markdown = markdown
        self._fence = ""  # of the code block that is open
        self._word = ""  # its end is not known yet
        self._is_inside = False  # a word, whose beginning is written
        self._begin_line()

    def feed(self, text: str) -> str:
        """Return what can be written by now."""
        text, self._word = self._word + text, ""
        written: list[str] = []
        for found in _PART.finditer(text):
            part = found[0]
            if part == "\n":
                written.append((self._space if self._is_verbatim else "") + part)
                self._begin_line()
            elif part.isspace():
                self._space += part
                self._is_inside = False
            elif found.end() == len(text) and self._must_wait(part):
                self._word = part
            else:
                written.append(self._place(part))
                self._is_inside = found.end() == len(text) and not _is_wide(part)
        return "".join(written)

    def finish(self) -> str:
        """Return what is left at the end of the text."""
        word, self._word = self._word, ""
        rest = self._place(word) if word else ""
        self._is_inside = False
        return rest

    def reset(self) -> None:
        """Begin a new text at the beginning of a line."""
        self._word, self._fence, self._is_inside = "", "", False
        self._begin_line()

    def _begin_line(self) -> None:
        self._column = 0
        self._space = ""
        self._hang = self._indent
        self._is_first = True  # nothing but white space is written
        self._is_verbatim = bool(self._fence)
        self._is_inside = False

    def _must_wait(self, word: str) -> bool:
        """Return whether the end of a word matters, which may not have come yet."""
        if self._is_inside or (self._is_verbatim and not self._is_first):
            return False
        return len(word) < self._width

    def _place(self, word: str) -> str:
        """Return a word with what separates it from the one before."""
        from rich.cells import cell_len

        space, self._space = self._space, ""
        size, gap = cell_len(word), len(space.expandtabs())
        if self._is_first:
            self._is_first = False
            if self._markdown:
                self._read_line_start(space, word)
        elif (
            not self._is_inside
            and not self._is_verbatim
            and self._column + gap + size > self._width >= len(self._hang) + size  # else no line can hold it
        ):
            self._column = len(self._hang) + size
            return f"\n{self._hang}{word}"
        self._column += gap + size
        if self._column > self._width:  # the terminal breaks the word itself
            self._column = (self._column - 1) % self._width + 1
        return space + word

    def _read_line_start(self, space: str, word: str) -> None:
        """Note how the line that begins with this word is continued."""
        is_fence = word.startswith(("```", "~~~"))
        if self._fence:
            if word.startswith(self._fence):
                self._fence = ""
            return
        if is_fence:
            self._fence = word[:3]
        is_item = _MARKER.fullmatch(word) is not None
        self._is_verbatim = is_fence or word.startswith("|") or (len(space) >= CODE_INDENT and not is_item)
        hang = len(space) + (len(word) + 1 if is_item else 0)
        self._hang = " " * hang if hang < self._width // 2 else ""


def _is_wide(part: str) -> bool:
    """Return whether a part is of a script without spaces: a line may end before and after it."""
    return re.match(f"[{_WIDE}]", part) is not None
