"""Read the ledger, also while other processes write to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from routemoa.ledger.schema import connect_reading, to_store_error

__all__ = ["LedgerEntry", "read_calls"]


class LedgerEntry(Struct, frozen=True):
    """A call as the ledger holds it; None is unknown.

    The field names are the columns of the table `calls`, of `routemoa ledger --csv`, and the keys of `--json`.
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
    """Dollars, by the provider's own count."""
    charged: float | None
    """Dollars counted against budgets."""
    seconds: float | None
    outcome: str
    """One of "open", "ok", "cut" where we cancelled it, "lost" where its process ended, or the kind of the failure."""


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
        query = f"SELECT {', '.join(LedgerEntry.__struct_fields__)} FROM calls WHERE began >= ?"  # noqa: S608
        if last is not None:
            query = f"SELECT * FROM ({query} ORDER BY id DESC LIMIT {last})"  # noqa: S608
        for row in connection.execute(f"{query} ORDER BY id", (-1e18 if since is None else since,)):
            yield LedgerEntry(*row)
    except sqlite3.Error as e:
        raise to_store_error(path, e) from e
    finally:
        connection.close()
