"""Files of one JSON object a line: read with every bad line named, appended to without ever leaving half a line."""

from __future__ import annotations

import gzip
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

import msgspec
from msgspec import Struct

from routemoa.core.errors import RouteMoAError

__all__ = ["Appender", "BadLine", "ErrorCollector", "RecordsError", "read_lines", "explain_json_error"]

MAX_LISTED = 20  # bad lines that an error lists; their number is given whatever it is
GZIP_MAGIC = b"\x1f\x8b"
BLOCK_BYTES = 1 << 16


class BadLine(Struct, frozen=True):
    """A line that is no record: `line` counts from 1; 0 means the file as a whole."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}" if self.line else f"{self.file}: {self.reason}"


class RecordsError(RouteMoAError):
    """Lines that cannot be used. `bad` holds the first of them, `count` says how many there are."""

    def __init__(self, bad: Iterable[BadLine], count: int | None = None) -> None:
        self.bad = tuple(bad)
        self.count = len(self.bad) if count is None else count
        if self.count == 1:
            super().__init__(str(self.bad[0]))
            return
        more = self.count - len(self.bad)
        listed = "".join(f"\n  {b}" for b in self.bad) + (f"\n  and {more:,} more" if more else "")
        super().__init__(f"{self.count:,} lines cannot be used; mend or remove them:{listed}")


class ErrorCollector:
    """Collects bad lines: the first of them for the message, the others as a number."""

    def __init__(self) -> None:
        self.first: list[BadLine] = []
        self.count = 0

    def __call__(self, bad: BadLine) -> None:
        """Note one bad line."""
        self.count += 1
        if len(self.first) < MAX_LISTED:
            self.first.append(bad)

    def raise_if_any(self) -> None:
        """Raise RecordsError when there is anything to complain about."""
        if self.count:
            raise RecordsError(self.first, self.count)


def read_lines(file: str | os.PathLike[str], on_bad: Callable[[BadLine], None]) -> Iterator[tuple[int, bytes]]:
    """The non-empty lines of a plain or gzip file with their numbers; what cannot be read goes to `complain`."""
    number = 0
    try:
        with open(file, "rb") as raw:
            zipped = raw.peek(2)[:2] == GZIP_MAGIC
            # Nothing is written through it: as a source of lines a GzipFile is a BinaryIO.
            source = cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if zipped else raw
            for number, line in enumerate(source, 1):
                text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                if text.strip():
                    yield number, text
    except (EOFError, zlib.error, gzip.BadGzipFile) as e:
        on_bad(BadLine(str(file), number + 1, f"damaged gzip data, nothing behind it was read: {e}"))
    except OSError as e:
        on_bad(BadLine(str(file), 0, f"cannot be read: {e.strerror or e}"))


def explain_json_error(line: bytes | str, error: Exception) -> str:
    """Why a line is no JSON; NaN and Infinity, which some programs write, are named."""
    text = line if isinstance(line, str) else line.decode("utf-8", "replace")
    for word in ("NaN", "Infinity"):
        if word in text:
            return f"not valid JSON: {word} is no JSON number; write null for what was not measured"
    if isinstance(error, RecursionError):
        return "not valid JSON: nested too deeply"
    if isinstance(error, msgspec.ValidationError):
        return str(error).replace("`", "'")
    return "not valid JSON: " + str(error).removeprefix("JSON is malformed: ")


class Appender:
    """Appends one line for each object, so that the file is whole whenever the process ends.

    Every line goes out in one write, in a gzip file as a member of its own. A last line that was cut short (the
    machine stopped in the middle of it) is taken off on opening. One process at a time may write to a file.

    Raises:
        RecordsError: the file cannot be opened or written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._zipped = self.path.suffix == ".gz"
        try:
            self._file = open(self.path, "a+b", buffering=0)  # noqa: SIM115
        except OSError as e:
            raise self._error(e) from e
        try:
            _lock(self._file)
            self._file.seek(0)
            head = self._file.read(2)
            if head and self._zipped != (head == GZIP_MAGIC):
                raise OSError(None, "its name and its content disagree about gzip")
            self._end = _find_end_of_gzip(self._file) if self._zipped else _find_end_of_lines(self._file)
            self._file.truncate(self._end)
        except OSError as e:
            self._file.close()
            raise self._error(e) from e

    def write(self, item: Struct) -> None:
        """Append one object as a line."""
        line = msgspec.json.encode(item) + b"\n"
        data = gzip.compress(line, 6, mtime=0) if self._zipped else line
        try:
            done = self._file.write(data) or 0
            if done < len(data):
                self._file.truncate(self._end)  # half a line is worse than none
                raise OSError(None, "the disk is full")
        except OSError as e:
            raise self._error(e) from e
        self._end += done

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _error(self, e: OSError) -> RecordsError:
        return RecordsError([BadLine(str(self.path), 0, f"cannot be written: {e.strerror or e}; choose another place")])


def _lock(file: BinaryIO) -> None:
    """Keep other processes from appending to the same file, where the system can; gone with the process."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as e:
        raise OSError(None, "another process is writing to it") from e


def _find_end_of_lines(file: BinaryIO) -> int:
    """Where the last whole line ends; a last line that only lacks its newline is given one."""
    size = start = file.seek(0, os.SEEK_END)
    tail = b""
    while start and b"\n" not in tail:
        start = max(0, start - BLOCK_BYTES)
        file.seek(start)
        tail = file.read(min(BLOCK_BYTES, size - start - len(tail))) + tail
    rest = tail[tail.rfind(b"\n") + 1 :]
    if not rest:
        return size
    try:
        msgspec.json.decode(rest)
    except msgspec.DecodeError as e:
        if not rest.startswith(b"{"):  # not ours: nothing is cut off a file that somebody else wrote
            raise OSError(None, "it ends in something that is no JSON object") from e
        return size - len(rest)
    file.write(b"\n")
    return size + 1


def _find_end_of_gzip(file: BinaryIO) -> int:
    """Where the last whole gzip member ends."""
    file.seek(0)
    end, data = 0, b""
    member = zlib.decompressobj(wbits=31)
    try:
        while data := data or file.read(BLOCK_BYTES):
            member.decompress(data)
            data = member.unused_data
            if member.eof:
                end = file.tell() - len(data)
                member = zlib.decompressobj(wbits=31)
    except zlib.error as e:  # not what a cut leaves behind: nothing is taken off
        raise OSError(None, "it is no gzip file, or a damaged one") from e
    return end
