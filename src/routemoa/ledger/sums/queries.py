"""Read the ledger, also while other processes write to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing

from msgspec import Struct
from msgspec.structs import replace

from routemoa.ledger.connections import Connection, has_table, open_reading, stream_rows
from routemoa.ledger.location import StoreLocation
from routemoa.ledger.schema import raise_file_errors

__all__ = ["CALL_COLUMNS", "LedgerEntry", "note_endpoint", "read_calls", "read_notes"]


ENDPOINT_NOTE = re.compile(r"endpoint ([\w.-]+)(?:; (.*))?", re.DOTALL)


def note_endpoint(endpoint: str, note: str) -> str:
    """Return the note of a call at one of several endpoints: a note is written with the call's end, in any store."""
    return f"endpoint {endpoint}; {note}" if note else f"endpoint {endpoint}"


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
    endpoint: str | None = None
    """The name of the endpoint that was called, where the member has several; it comes from the table `notes`."""

    def noted(self, note: str) -> LedgerEntry:
        """Return the call with a note: the name of its endpoint, or what was wrong, or both."""
        if (found := ENDPOINT_NOTE.fullmatch(note)) is None:
            return replace(self, note=note)
        return replace(self, endpoint=found[1], note=found[2] or self.note)

    def corrected(self, cost: float, note: str) -> LedgerEntry:
        """Return the call as it is after a correction."""
        return replace(self, cost=cost, charged=cost, note=note)


CALL_COLUMNS = LedgerEntry.__struct_fields__[:-2]
"""Of the table `calls`."""

Notes = dict[tuple[int, str], list[tuple[float | None, str]]]
"""Id and request of a call -> its notes in their order, each with the dollars that it corrects the call to, if any."""


def read_notes(connection: Connection, call: int | None = None) -> Notes:
    """Return the notes of all calls, or of one; none in a file that a version without them has written."""
    notes: Notes = {}
    if has_table(connection, "notes"):
        chosen, values = ("", ()) if call is None else ("WHERE call = ? ", (call,))
        rows = connection.execute(f"SELECT call, request, cost, note FROM notes {chosen}ORDER BY id", values)  # noqa: S608
        for number, request, cost, note in rows:
            notes.setdefault((number, request), []).append((cost, note))
    return notes


def read_calls(path: StoreLocation, since: float | None = None, last: int | None = None) -> Iterator[LedgerEntry]:
    """Yield the calls of a ledger, oldest first.

    Args:
        path: the file, or the URL of the database; one that does not exist holds no calls.
        since: only calls that began at this time or later (seconds since the epoch).
        last: only so many of the newest of these.

    Raises:
        StoreError: the store cannot be read.
    """
    connection = open_reading(path)
    if connection is None:
        return
    with closing(connection), raise_file_errors(path):
        notes = read_notes(connection)
        query = f"SELECT {', '.join(CALL_COLUMNS)} FROM calls WHERE began >= ?"  # noqa: S608
        if last is not None:
            query = f"SELECT * FROM ({query} ORDER BY id DESC LIMIT {last}) AS newest"  # noqa: S608
        for row in stream_rows(connection, f"{query} ORDER BY id", (-1e18 if since is None else since,)):
            entry = LedgerEntry(*row)
            for cost, note in notes.get((entry.id, entry.request), ()):
                entry = entry.noted(note) if cost is None else entry.corrected(cost, note)
            yield entry
