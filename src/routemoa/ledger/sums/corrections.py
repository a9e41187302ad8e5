"""Correct what a call cost: a note is added, the call's own row stays, and the budgets of its day and month follow."""

from __future__ import annotations

import math
from pathlib import Path

from msgspec import Struct

from routemoa.core.errors import ConfigError
from routemoa.ledger.budgets.budget_check import Window, list_windows
from routemoa.ledger.connections import Connection, row_lock, transact
from routemoa.ledger.location import StoreLocation
from routemoa.ledger.steps import MAX_PICODOLLARS, PICODOLLARS_PER_DOLLAR, to_picodollars
from routemoa.ledger.sums.queries import CALL_COLUMNS, LedgerEntry, read_notes

__all__ = ["Correction", "correct_call"]

INSERT_NOTE = "INSERT INTO notes (call, request, at, cost, note) VALUES (?, ?, ?, ?, ?)"
MAKE_WINDOW = 'INSERT INTO windows (key, "window", spent, held) VALUES (?, ?, 0, 0) ON CONFLICT DO NOTHING'
READ_WINDOW = 'SELECT spent, held FROM windows WHERE key = ? AND "window" = ?'
WRITE_WINDOW = 'UPDATE windows SET spent = ? WHERE key = ? AND "window" = ?'


class Correction(Struct, frozen=True):
    """A call before and after its correction."""

    before: LedgerEntry
    after: LedgerEntry


def correct_call(path: StoreLocation, number: int, cost: float, reason: str, now: float) -> Correction:
    """Correct what a call cost.

    Args:
        path: of the ledger.
        number: the id of the call.
        cost: dollars that it did cost.
        reason: why, in one line.
        now: seconds since the epoch.

    Raises:
        ConfigError: there is no such call, it is under way, or the cost or the reason is not valid.
        StoreError: the store cannot be written.
    """
    if not math.isfinite(cost) or not 0 <= cost <= MAX_PICODOLLARS / PICODOLLARS_PER_DOLLAR:
        raise ConfigError(f"--cost {cost:g}: give the dollars that the call cost, 0 or more")
    reason = " ".join(reason.split())
    if not reason or not reason.isprintable():
        raise ConfigError("--reason: say in one line of text why the call is corrected")
    if isinstance(path, Path) and not path.exists():
        raise ConfigError(f"{path}: no such file; there is no call to correct")
    return transact(path, lambda connection: _correct(connection, number, cost, reason, now))


def _correct(connection: Connection, number: int, cost: float, reason: str, now: float) -> Correction:
    query = f"SELECT {', '.join(CALL_COLUMNS)} FROM calls WHERE id = ?{row_lock(connection)}"  # noqa: S608  (ours)
    row = connection.execute(query, (number,)).fetchone()
    if row is None:
        raise ConfigError(f"call {number}: the ledger holds none of this id; `routemoa ledger` shows the ids")
    call = LedgerEntry(*row)
    if call.outcome == "open":
        raise ConfigError(f"call {number} is under way; correct it once it has ended")
    for earlier, note in read_notes(connection, number).get((number, call.request), ()):
        call = call if earlier is None else call.corrected(earlier, note)
    difference = to_picodollars(cost) - to_picodollars(call.charged)
    for key in sorted(list_windows(call.key, call.began)):  # in the order in which all transactions lock them
        connection.execute(MAKE_WINDOW, key)
        window = Window(*connection.execute(READ_WINDOW + row_lock(connection), key).fetchone())
        window.add(difference)
        connection.execute(WRITE_WINDOW, (window.spent, *key))
    connection.execute(INSERT_NOTE, (number, call.request, now, cost, reason))
    return Correction(call, call.corrected(cost, reason))
