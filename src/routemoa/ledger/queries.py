"""What the ledger holds, read without writing: also while others write to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from routemoa.ledger.schema import connect_reading, to_store_error

__all__ = ["LedgerEntry", "read_calls"]


class LedgerEntry(Struct, frozen=True):
    """One call's row. Dollars, seconds and tokens are None where nobody said; `began` counts from the epoch."""

    id: int
    request: str
    began: float
    key: str
    method: str
    model: str
    purpose: str
    most: float | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    cost: float | None
    charged: float | None
    seconds: float | None
    outcome: str


def read_calls(path: Path, since: float | None = None, last: int | None = None) -> Iterator[LedgerEntry]:
    """The calls that began at `since` or later, oldest first; with `last` the newest so many. Raises StoreError."""
    connection = connect_reading(path)
    if connection is None:
        return
    try:
        chosen = f"SELECT {', '.join(LedgerEntry.__struct_fields__)} FROM calls WHERE began >= ?"  # noqa: S608
        if last is not None:
            chosen = f"SELECT * FROM ({chosen} ORDER BY id DESC LIMIT {last})"  # noqa: S608
        for row in connection.execute(f"{chosen} ORDER BY id", (-1e18 if since is None else since,)):
            yield LedgerEntry(*row)
    except sqlite3.Error as e:
        raise to_store_error(path, e) from e
    finally:
        connection.close()
