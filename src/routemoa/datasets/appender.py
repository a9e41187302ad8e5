"""Append to JSON Lines files: a line is written whole or not at all, and a last half line is removed."""

from __future__ import annotations

import errno
import gzip
import os
import sys
import zlib
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import msgspec
from msgspec import Struct

from routemoa.datasets.file_heads import GZIP_MAGIC
from routemoa.datasets.jsonl import BadLine, RecordsError

__all__ = ["Appender"]

BLOCK_BYTES = 1 << 16


class Appender:
    """Appends objects to a JSON Lines file so that it is whole whenever the process ends.

    The file is gzip where its name ends in .gz. Each line is one write, in a gzip file a member of its own. Opening
    removes a last line that was cut short when a machine stopped. One process at a time may write to a file.

    Raises:
        RecordsError: the file cannot be opened or written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._gzip = self.path.suffix == ".gz"
        try:
            self._file = open(self.path, "a+b", buffering=0)  # noqa: SIM115
        except OSError as e:
            raise self._error(e) from e
        try:
            _lock(self._file)
            self._file.seek(0)
            head = self._file.read(2)
            if head and self._gzip != (head == GZIP_MAGIC):
                raise OSError(None, "its name and its content disagree about gzip")
            self._end = _find_end_of_gzip(self._file) if self._gzip else _find_end_of_lines(self._file)
            self._file.truncate(self._end)
        except OSError as e:
            self._file.close()
            raise self._error(e) from e

    def write(self, item: Struct | msgspec.Raw) -> None:
        """Append one object as a line. Raises RecordsError."""
        line = msgspec.json.encode(item) + b"\n"
        data = gzip.compress(line, 6, mtime=0) if self._gzip else line
        try:
            done = self._file.write(data) or 0
            if done < len(data):
                self._file.truncate(self._end)  # half a line is worse than none
                raise OSError(errno.ENOSPC, "the disk is full")
        except OSError as e:
            raise self._error(e) from e
        self._end += done

    def clear(self) -> None:
        """Remove all lines."""
        self._file.truncate(0)
        self._end = 0

    def close(self) -> None:
        """Close the file and release its lock."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _error(self, e: OSError) -> RecordsError:
        reason, advice = e.strerror or e, "choose another place"
        if isinstance(e, BlockingIOError):
            reason, advice = "another process is writing to it", "wait for its end"
        elif e.errno in (errno.ENOSPC, errno.EDQUOT):
            advice = "make room for it"
        return RecordsError([BadLine(str(self.path), 0, f"cannot be written: {reason}; {advice}")])


def _lock(file: BinaryIO) -> None:
    """Keep other processes from appending to the file, where the system can; the lock ends with the process."""
    if sys.platform == "win32":
        return
    import fcntl

    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _find_end_of_lines(file: BinaryIO) -> int:
    """Return the offset where the last whole line ends; add its newline where only that is missing."""
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
        if not rest.startswith(b"{"):  # another program's file: nothing is removed from it
            raise OSError(None, "its last line is not a JSON object") from e
        return size - len(rest)
    file.write(b"\n")
    return size + 1


def _find_end_of_gzip(file: BinaryIO) -> int:
    """Return the offset where the last whole gzip member ends."""
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
    except zlib.error as e:  # not what an interrupted write leaves behind: nothing is removed
        raise OSError(None, "it is not a gzip file, or a damaged one") from e
    return end
