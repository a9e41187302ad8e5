"""The totals of days and months: changed in memory, written by the commit, forgotten when a day ends."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from routemoa.core.access.tenants import ALL_TENANTS, find_windows
from routemoa.ledger.budgets.windows import WindowTotals
from routemoa.ledger.schema import connect
from routemoa.ledger.steps import PICODOLLARS_PER_DOLLAR, StartedCall

NOON = 1_764_072_000.0  # 2025-11-25 12:00 UTC
DAY = 86_400.0


@pytest.fixture
def connection(tmp_path: Path) -> sqlite3.Connection:
    return connect(tmp_path / "calls.db")


def call(cost: float) -> StartedCall:
    return StartedCall("request", NOON, "alice", "routemoa", "m", "proposal", cost)


def commit(totals: WindowTotals) -> None:
    totals.cursor.execute("BEGIN IMMEDIATE")
    totals.write_changes()
    totals.cursor.execute("COMMIT")
    totals.confirm_changes()


def test_a_call_counts_in_four_windows_once_it_is_committed(connection: sqlite3.Connection) -> None:
    totals, cost = WindowTotals(connection), round(0.5 * PICODOLLARS_PER_DOLLAR)
    totals.reserve(call(0.5))
    assert totals.used == {}
    commit(totals)
    today = find_windows(NOON)
    keys = {(name, window) for name in ("alice", ALL_TENANTS) for window in (today.day, today.month)}
    assert totals.used == dict.fromkeys(keys, cost)
    totals.settle(call(0.5), 7)
    commit(totals)
    assert totals.used == dict.fromkeys(keys, 7)
    again = WindowTotals(connection)
    again.reload_used("alice", NOON)
    assert again.used == totals.used
    assert again.read_spent(NOON) == dict.fromkeys(keys, 7)


def test_what_is_rolled_back_is_neither_written_nor_shown(connection: sqlite3.Connection) -> None:
    totals = WindowTotals(connection)
    totals.reserve(call(0.5))
    totals.drop_changes()
    totals.forget()
    commit(totals)
    assert totals.used == {}
    assert connection.execute("SELECT count(*) FROM windows").fetchone() == (0,)


def test_a_new_day_forgets_the_day_before_and_keeps_the_month(connection: sqlite3.Connection) -> None:
    totals = WindowTotals(connection)
    totals.start_day(NOON)
    totals.reserve(call(0.5))
    commit(totals)
    totals.start_day(NOON + 60)
    assert len(totals.used) == 4
    totals.start_day(NOON + DAY)
    assert {window for _, window in totals.used} == {find_windows(NOON).month}


def test_what_was_spent_is_known_where_the_file_cannot_be_read(connection: sqlite3.Connection) -> None:
    totals = WindowTotals(connection)
    totals.reserve(call(0.5))
    totals.settle(call(0.5), 7)
    connection.close()
    assert set(totals.read_spent(NOON).values()) == {7}
