"""Read the ledger, also while other processes write to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from routemoa.ledger.schema import connect_reading, to_store_error

__all__ = ["CALL_COLUMNS", "LedgerEntry", "read_calls", "read_notes"]


class LedgerEntry(Struct, frozen=True):
    """A call as the ledger holds it; None is unknown.

    The field names are the columns of the table `calls`, of `routemoa ledger --csv`, and the keys of `--json`; `note`
    comes from the table `notes`.
    """

    id: int
    request: str
    """The calls of one request share it."""
    began: float
    """Seconds since the epoch."""
    key: str
    """The tenant's name, "-" where there is none."""
    method: str
    model: str
    purpose: str
    most: float | None
    """The most dollars that the call can have cost."""
    prompt_tokens: int | None
    """By the provider's own count."""
    completion_tokens: int | None
    cached_tokens: int | None
    cost: float | None
    """Dollars, by the provider's own count, or as they were corrected."""
    charged: float | None
    """Dollars counted against budgets."""
    seconds: float | None
    outcome: str
    """One of "open", "ok", "cut" where we cancelled it, "lost" where its process ended, or the kind of the failure."""
    note: str | None = None
    """What was wrong with the provider's figures, or why they were corrected."""

    def corrected(self, cost: float, note: str) -> LedgerEntry:
        """Return the call as it is after a correction."""
        return replace(self, cost=cost, charged=cost, note=note)


CALL_COLUMNS = LedgerEntry.__struct_fields__[:-1]
"""Of the table `calls`."""

Notes = dict[tuple[int, str], list[tuple[float | None, str]]]
"""Id and request of a call -> its notes in their order, each with the dollars that it corrects the call to, if any."""


def read_notes(connection: sqlite3.Connection, call: int | None = None) -> Notes:
    """Return the notes of all calls, or of one; none in a file that a version without them has written."""
    notes: Notes = {}
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'notes'").fetchone():
        rows = connection.execute(
            "SELECT call, request, cost, note FROM notes WHERE ? IS NULL OR call = ? ORDER BY id", (call, call)
        )
        for number, request, cost, note in rows:
            notes.setdefault((number, request), []).append((cost, note))
    return notes


def read_calls(path: Path, since: float | None = None, last: int | None = None) -> Iterator[LedgerEntry]:
    """Yield the calls of a ledger, oldest first.

    Args:
        path: the file; one that does not exist holds no calls.
        since: only calls that began at this time or later (seconds since the epoch).
        last: only so many of the newest of these.

    Raises:
        StoreError: the file cannot be read.
    """
    connection = connect_reading(path)
    if connection is None:
        return
    try:
        notes = read_notes(connection)
        query = f"SELECT {', '.join(CALL_COLUMNS)} FROM calls WHERE began >= ?"  # noqa: S608
        if last is not None:
            query = f"SELECT * FROM ({query} ORDER BY id DESC LIMIT {last})"  # noqa: S608
        for row in connection.execute(f"{query} ORDER BY id", (-1e18 if since is None else since,)):
            entry = LedgerEntry(*row)
            for cost, note in notes.get((entry.id, entry.request), ()):
                entry = replace(entry, note=note) if cost is None else entry.corrected(cost, note)
            yield entry
    except sqlite3.Error as e:
        raise to_store_error(path, e) from e
    finally:
        connection.close()
