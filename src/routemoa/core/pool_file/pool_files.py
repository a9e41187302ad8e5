"""The files that a pool is read from, and whether one of them has changed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from routemoa.core.pool_file.pool import Pool

__all__ = ["POLL_SECONDS", "Signature", "list_files", "read_signature"]

POLL_SECONDS = 0.5
"""Between two looks at the files."""

Signature = tuple[tuple[int, int, int] | None, ...]


def list_files(pool: Pool) -> list[Path]:
    """Return the files that a pool is read from: its own, and those of its scorer and its judge."""
    files = [Path(pool.source)]
    if pool.scorer is not None:
        files.append(pool.scorer / "manifest.json")
    return files if pool.judge is None else [*files, pool.judge]


def read_signature(files: Sequence[Path]) -> Signature:
    """Return what changes when one of the files does: time, size and inode of each, None where there is none."""
    return tuple(map(_stat, files))


def _stat(file: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
