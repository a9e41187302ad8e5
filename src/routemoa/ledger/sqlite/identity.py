"""What tells a ledger's file, and a process that writes to it, from those of other machines that share budgets."""

from __future__ import annotations

import os
import sqlite3
import uuid
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

__all__ = ["LedgerIdentity", "describe_place", "identify_file", "read_ledger_id"]


class LedgerIdentity(NamedTuple):
    """A ledger and a process, the same on no other machine."""

    ledger: str
    process: str
    place: str
    """Where the file is: a copy of it is elsewhere."""


def read_ledger_id(connection: sqlite3.Connection) -> str:
    """Return what a ledger was named when it was made."""
    return str(connection.execute("SELECT id FROM identity").fetchone()[0])


def describe_place(file: tuple[int, int] | None) -> str:
    """Return what tells a file from its copies here and on other machines, given its device and inode."""
    return "-".join((_read_boot_id(), *map(str, file or ())))


@lru_cache(maxsize=1)
def _read_boot_id() -> str:
    """Return what tells this machine from others; Linux alone says so."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return uuid.UUID(int=uuid.getnode()).hex


def identify_file(path: Path | str) -> tuple[int, int] | None:
    """Return what tells a file from another one at the same path; None where there is none. Raises OSError."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
