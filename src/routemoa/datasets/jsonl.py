"""Read JSON Lines files, and name every bad line."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, cast

import msgspec
from msgspec import Struct

from routemoa.core.errors import RouteMoAError
from routemoa.core.files.file_kind import HEAD_BYTES, detect_encoding, quote_line
from routemoa.core.text.plural import counted
from routemoa.datasets.file_heads import GZIP_MAGIC

__all__ = [
    "BadLine",
    "ErrorCollector",
    "RecordsError",
    "SeenIds",
    "explain_json_error",
    "read_lines",
    "read_open_lines",
]

MAX_LISTED = 20  # bad lines that an error lists; it always gives their number
ALLOW_HINT = "; --allow-duplicates keeps them apart"


class BadLine(Struct, frozen=True):
    """A line that cannot be used, and why."""

    file: str
    line: int
    """Counts from 1; 0 is the file as a whole."""
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}" if self.line else f"{self.file}: {self.reason}"


class RecordsError(RouteMoAError):
    """Lines that cannot be used.

    Args:
        bad: the lines that the message lists.
        count: how many there are in all; by default as many as are listed.
    """

    def __init__(self, bad: Iterable[BadLine], count: int | None = None) -> None:
        self.bad = tuple(bad)
        self.count = len(self.bad) if count is None else count
        if self.count == 1:
            super().__init__(str(self.bad[0]))
            return
        more = self.count - len(self.bad)
        listed = "".join(f"\n  {line}" for line in _merge_equal(self.bad)) + (f"\n  and {more:,} more" if more else "")
        super().__init__(f"{counted(self.count, 'line')} cannot be used; correct or remove them:{listed}")

    def __reduce__(self) -> tuple[type[RecordsError], tuple[tuple[BadLine, ...], int]]:
        """Let another process raise it: an actor of a Ray cluster."""
        return type(self), (self.bad, self.count)


def _merge_equal(bad: Iterable[BadLine]) -> list[str]:
    """Return a line of text for each file and reason, so that a fault of many lines is described once."""
    groups: dict[tuple[str, str], list[BadLine]] = {}
    for b in bad:
        groups.setdefault((b.file, b.reason), []).append(b)
    return [
        str(group[0]) if len(group) == 1 else f"{file}:{','.join(str(b.line) for b in group)}: {reason}"
        for (file, reason), group in groups.items()
    ]


class ErrorCollector:
    """Collects bad lines, to raise one error for all: keeps the first MAX_LISTED and counts the rest."""

    def __init__(self) -> None:
        self.first: list[BadLine] = []
        self.count = 0

    def __call__(self, bad: BadLine) -> None:
        """Count one bad line."""
        self.count += 1
        if len(self.first) < MAX_LISTED:
            self.first.append(bad)

    def raise_if_any(self) -> None:
        """Raise RecordsError where any bad line was counted."""
        if self.count:
            raise RecordsError(self.first, self.count)


class SeenIds:
    """Remembers where each task and id was, to name every duplicated one once, however often it occurs."""

    def __init__(self) -> None:
        self._places: dict[tuple[str, str], tuple[str, int]] = {}
        self._repeated: dict[tuple[str, str], list[tuple[str, int]]] = {}
        self._numbers: dict[tuple[str, str], int] = {}

    def add(self, key: tuple[str, str], file: str, line: int) -> bool:
        """Return whether a task and id are new; remember where they are."""
        if key in self._places:
            self._repeated.setdefault(key, []).append((file, line))
            return False
        self._places[key] = (file, line)
        return True

    def tell_apart(self, key: tuple[str, str], file: str, line: int) -> str:
        """Return the id of a task and id, with a number where it came before: "7", then "7#2", "7#3"."""
        task, id = key
        if self.add(key, file, line):
            return id
        number = self._numbers.get(key, 1) + 1
        while (task, f"{id}#{number}") in self._places:
            number += 1
        self._numbers[key] = number
        self._places[task, f"{id}#{number}"] = (file, line)
        return f"{id}#{number}"

    @property
    def repeated(self) -> int:
        """Return how many lines repeat a task and id that came before."""
        return sum(len(places) for places in self._repeated.values())

    def report(self, on_bad: Callable[[BadLine], None]) -> None:
        """Call `on_bad` once for each duplicated task and id."""
        for key, places in self._repeated.items():
            (first_file, first_line), (file, line) = self._places[key], places[0]
            first = f"on line {first_line}" if file == first_file else f"at {first_file}:{first_line}"
            others = len(places) - 1
            more = f" and on {counted(others, 'more line')}" if others else ""
            on_bad(BadLine(file, line, f"task '{key[0]}', id '{key[1]}' is already {first}{more}{ALLOW_HINT}"))


def read_lines(file: str | os.PathLike[str], on_bad: Callable[[BadLine], None]) -> Iterator[tuple[int, bytes]]:
    """Yield the non-empty lines of a plain or gzip file in UTF-8 with their numbers, which count from 1.

    Gzip and UTF-16 are recognised by content. Where a file is damaged or cannot be read, `on_bad` is called.
    """
    try:
        with open(file, "rb") as raw:
            yield from read_open_lines(raw, str(file), on_bad)
    except OSError as e:
        on_bad(BadLine(str(file), 0, f"cannot be read: {e.strerror or e}"))


def read_open_lines(
    raw: io.BufferedReader[Any], name: str, on_bad: Callable[[BadLine], None]
) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of an open file, as `read_lines` does. Raises OSError."""
    number = 0
    try:
        compressed = raw.peek(2)[:2] == GZIP_MAGIC
        # For reading lines a GzipFile is as good as a BinaryIO.
        source = gzip.GzipFile(fileobj=raw) if compressed else raw
        encoding = detect_encoding(source.peek(HEAD_BYTES)[:HEAD_BYTES])
        binary = cast("BinaryIO", source)
        lines = binary if encoding in (None, "utf-8-sig") else _convert_lines(binary, str(encoding))
        for number, line in enumerate(lines, 1):
            text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if text.strip():
                yield number, text
    except (EOFError, zlib.error, gzip.BadGzipFile) as e:
        on_bad(BadLine(name, number + 1, f"damaged gzip data, nothing after it was read: {e}"))
    except UnicodeDecodeError as e:
        on_bad(BadLine(name, number + 1, f"not {e.encoding} text, nothing after it was read: {e.reason}"))


def _convert_lines(source: BinaryIO, encoding: str) -> Iterator[bytes]:
    """Yield the lines of a text in another encoding in UTF-8."""
    with io.TextIOWrapper(source, encoding, newline="\n") as text:
        for line in text:
            yield line.encode("utf-8", "surrogatepass")


def explain_json_error(line: bytes | str, error: Exception) -> str:
    """Return why a line is not JSON, and how it begins; NaN and Infinity, which some programs write, are named."""
    if isinstance(line, bytes):
        try:
            line.decode()
        except UnicodeDecodeError:
            return "not UTF-8 text (Latin-1?); convert it:  iconv -f WINDOWS-1252 -t UTF-8 FILE > utf8.jsonl"
    text = line if isinstance(line, str) else line.decode()
    for word in ("NaN", "Infinity"):
        if word in text:
            return f"not valid JSON: {word} is not a JSON number; write null where nothing was measured"
    if isinstance(error, RecursionError):
        return "not valid JSON: nested too deeply"
    if isinstance(error, msgspec.ValidationError):
        return str(error).replace("`", "'")
    reason = str(error).removeprefix("JSON is malformed: ")
    return f"not valid JSON: {reason}; the line reads: {quote_line(text)}"
