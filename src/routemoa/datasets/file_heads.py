"""Looks at the beginning of a file to tell what it is, before its lines are read."""

from __future__ import annotations

import gzip
import os
import zlib

from routemoa.core.files.file_kind import HEAD_BYTES, Wanted, detect_kind, explain_wrong_file

__all__ = ["GZIP_MAGIC", "find_wrong_kind", "read_head"]

GZIP_MAGIC = b"\x1f\x8b"


def read_head(file: str | os.PathLike[str]) -> bytes:
    """Return the first HEAD_BYTES of a plain or gzip file; none where it cannot be read, which reading it tells."""
    try:
        with open(file, "rb") as raw:
            source = gzip.GzipFile(fileobj=raw) if raw.peek(2)[:2] == GZIP_MAGIC else raw
            return source.read(HEAD_BYTES)
    except (OSError, EOFError, zlib.error):
        return b""


def find_wrong_kind(file: str | os.PathLike[str], wanted: Wanted, *accepted: str) -> str | None:
    """Return why a file is not what was wanted, where its beginning tells; None where its lines have to be read.

    Args:
        file: plain or gzip.
        wanted: what the message calls for.
        accepted: the kinds of `detect_kind` that can be read, besides lines of unknown objects.
    """
    found = detect_kind(read_head(file), os.fspath(file))
    if found.kind in (*accepted, "json lines", "empty"):
        return None
    return explain_wrong_file(found, wanted, os.fspath(file))
