"""Correct what a call cost: a note is added, the call's own row stays, and the budgets of its day and month follow."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from pathlib import Path

from msgspec import Struct

from routemoa.core.errors import ConfigError
from routemoa.core.tenants import ALL_TENANTS, SPANS, find_windows
from routemoa.ledger.queries import CALL_COLUMNS, LedgerEntry, read_notes
from routemoa.ledger.schema import connect, to_store_error
from routemoa.ledger.steps import MAX_PICODOLLARS, PICODOLLARS_PER_DOLLAR, to_picodollars

__all__ = ["Correction", "correct_call"]

INSERT_NOTE = "INSERT INTO notes (call, request, at, cost, note) VALUES (?, ?, ?, ?, ?)"
ADD_TO_WINDOW = (
    "INSERT INTO windows VALUES (?1, ?2, max(0, ?3), 0) "
    "ON CONFLICT DO UPDATE SET spent = max(0, min(?4, windows.spent + ?3))"
)


class Correction(Struct, frozen=True):
    """A call before and after its correction."""

    before: LedgerEntry
    after: LedgerEntry


def correct_call(path: Path, number: int, cost: float, reason: str, now: float) -> Correction:
    """Correct what a call cost.

    Args:
        path: of the ledger.
        number: the id of the call.
        cost: dollars that it did cost.
        reason: why, in one line.
        now: seconds since the epoch.

    Raises:
        ConfigError: there is no such call, it is under way, or the cost or the reason is not valid.
        StoreError: the file cannot be written.
    """
    if not math.isfinite(cost) or not 0 <= cost <= MAX_PICODOLLARS / PICODOLLARS_PER_DOLLAR:
        raise ConfigError(f"--cost {cost:g}: give the dollars that the call cost, 0 or more")
    reason = " ".join(reason.split())
    if not reason or not reason.isprintable():
        raise ConfigError("--reason: say in one line of text why the call is corrected")
    if not path.exists():
        raise ConfigError(f"{path}: no such file; there is no call to correct")
    with closing(connect(path)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
            correction = _correct(connection, number, cost, reason, now)
            connection.execute("COMMIT")
        except sqlite3.Error as e:
            raise to_store_error(path, e) from e
    return correction


def _correct(connection: sqlite3.Connection, number: int, cost: float, reason: str, now: float) -> Correction:
    query = f"SELECT {', '.join(CALL_COLUMNS)} FROM calls WHERE id = ?"  # noqa: S608  (our own names)
    row = connection.execute(query, (number,)).fetchone()
    if row is None:
        raise ConfigError(f"call {number}: the ledger holds none of this id; `routemoa ledger` shows the ids")
    call = LedgerEntry(*row)
    if call.outcome == "open":
        raise ConfigError(f"call {number} is under way; correct it once it has ended")
    for earlier, note in read_notes(connection, number).get((number, call.request), ()):
        call = call if earlier is None else call.corrected(earlier, note)
    difference = to_picodollars(cost) - to_picodollars(call.charged)
    windows = find_windows(call.began)
    for key in (call.key, ALL_TENANTS):
        for span in SPANS:
            connection.execute(ADD_TO_WINDOW, (key, windows.id(span), difference, MAX_PICODOLLARS))
    connection.execute(INSERT_NOTE, (number, call.request, now, cost, reason))
    return Correction(call, call.corrected(cost, reason))
