"""A wrong entry is mended by a note: sums and budgets follow, the row stays."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from routemoa.core.access.tenants import SpendingLimits, Tenant, Tenants
from routemoa.core.errors import BudgetExceeded, ConfigError
from routemoa.core.protocols import CallResult, CallStart
from routemoa.core.usage import Usage
from routemoa.ledger import LedgerEntry, Store, StoreLocation, correct_call, read_calls
from routemoa.ledger.connections import open_reading

TENANTS = Tenants((Tenant("acme", "KEY", max_cost_per_day=5.0),), SpendingLimits(max_cost_per_month=8.0))


async def record(store: Store, charged: float | None, *, note: str = "", most: float | None = 5.0) -> int:
    recorder = store.recorder("acme", "routemoa")
    number = await recorder.start(CallStart("m", "proposal", most))
    recorder.finish(number, CallResult(Usage(10, 5), charged, charged, 0.1, "ok", note))
    await store.flush()
    return number


def entries(path: StoreLocation) -> dict[int, LedgerEntry]:
    return {e.id: e for e in read_calls(path)}


def remaining(store: Store) -> tuple[float | None, float | None]:
    store.reload_budget("acme")
    left = store.remaining_budget("acme")
    assert left is not None
    return left.day, left.month


async def eventually(store: Store, left: tuple[float, float]) -> None:
    """Wait until this is left: a database is read again by a thread."""
    end = time.monotonic() + 5
    while remaining(store) != left and time.monotonic() < end:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert remaining(store) == left


@pytest.fixture
def path(place: StoreLocation) -> StoreLocation:
    return place


def query(place: StoreLocation, statement: str) -> list[tuple[float, float]]:
    connection = open_reading(place)
    assert connection is not None
    with closing(connection):
        return connection.execute(statement).fetchall()


async def test_sums_and_budgets_follow_a_correction_and_the_row_stays(path: StoreLocation) -> None:
    store = Store(path, TENANTS)
    number = await record(store, 4.0)
    await eventually(store, (1.0, 4.0))
    correction = correct_call(path, number, 0.25, "the provider's  invoice\n", time.time())
    assert (correction.before.charged, correction.after.charged) == (4.0, 0.25)
    await eventually(store, (4.75, 7.75))
    entry = entries(path)[number]
    assert (entry.cost, entry.charged, entry.note) == (0.25, 0.25, "the provider's invoice")
    assert query(path, "SELECT cost, charged FROM calls") == [(4.0, 4.0)]
    assert query(path, "SELECT cost, charged FROM corrected_calls") == [(0.25, 0.25)]
    correct_call(path, number, 4.5, "no, this one", time.time())
    await eventually(store, (0.5, 3.5))
    assert entries(path)[number].charged == 4.5
    correct_call(path, number, 4.0, "taken back", time.time())
    await eventually(store, (1.0, 4.0))
    await store.aclose()


async def test_a_running_store_lets_calls_through_again(path: StoreLocation) -> None:
    store = Store(path, TENANTS)
    number = await record(store, 5.0)
    with pytest.raises(BudgetExceeded):
        await record(store, 0.1, most=0.1)
    await asyncio.to_thread(correct_call, path, number, 0.0, "refunded", time.time())
    await record(store, 0.1, most=0.1)
    await eventually(store, (4.9, 7.9))
    await store.aclose()


async def test_doubtful_figures_are_noted_with_the_call(path: StoreLocation) -> None:
    store = Store(path, TENANTS)
    first, second = await record(store, 1.0, note="10**12 tokens"), await record(store, None, most=0.5)
    await store.aclose()
    assert entries(path)[first].note == "10**12 tokens"
    assert entries(path)[first].charged == 1.0
    assert entries(path)[second].note is None
    assert correct_call(path, second, 0.5, "known now", time.time()).before.charged is None
    assert entries(path)[second].charged == 0.5


@pytest.mark.parametrize(
    ("number", "cost", "reason", "said"),
    [
        (9, 1.0, "x", "the ledger holds none of this id"),
        (1, -1.0, "x", "0 or more"),
        (1, float("nan"), "x", "0 or more"),
        (1, float("inf"), "x", "0 or more"),
        (1, 1e9, "x", "0 or more"),
        (1, 1.0, "", "in one line"),
        (1, 1.0, " \n ", "in one line"),
        (1, 1.0, "a\x1b[31m", "in one line"),
        (2, 1.0, "x", "is under way"),
    ],
)
async def test_what_cannot_be_corrected_says_why(
    path: StoreLocation, number: int, cost: float, reason: str, said: str
) -> None:
    store = Store(path, TENANTS)
    await record(store, 1.0)
    await store.recorder("acme", "routemoa").start(CallStart("m", "proposal", 0.5))
    before = remaining(store)
    with pytest.raises(ConfigError, match=said):
        correct_call(path, number, cost, reason, time.time())
    assert remaining(store) == before
    await store.aclose()


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with pytest.raises(ConfigError, match="no such file"):
        correct_call(path, 1, 1.0, "x", time.time())
    assert not path.exists()


async def test_a_ledger_of_before_is_read_and_gets_its_notes(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = Store(path)
    number = await record(store, 1.0)
    await store.aclose()
    with sqlite3.connect(path) as connection:
        connection.executescript("DROP VIEW corrected_calls; DROP TABLE notes")
    assert entries(path)[number].note is None
    correct_call(path, number, 0.5, "x", time.time())
    assert entries(path)[number].charged == 0.5


async def test_a_note_of_a_call_that_was_deleted_is_not_given_to_another(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = Store(path)
    number = await record(store, 1.0)
    await store.aclose()
    correct_call(path, number, 0.5, "x", time.time())
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM calls")
    store = Store(path)
    assert await record(store, 2.0) == number
    await store.aclose()
    assert (entries(path)[number].charged, entries(path)[number].note) == (2.0, None)


async def test_the_budget_of_all_together_holds_where_there_are_no_tenants(path: StoreLocation) -> None:
    store = Store(path, Tenants(totals=SpendingLimits(max_cost_per_day=1.0)))
    recorder = store.recorder(None, "routemoa")
    assert recorder.has_budget
    with pytest.raises(BudgetExceeded):
        await recorder.start(CallStart("m", "proposal", 1.5))
    await store.aclose()
