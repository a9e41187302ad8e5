"""Open calls of dead processes are found without an index of them, whatever was written, taken back or lost before."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routemoa.core.access.tenants import SpendingLimits, Tenant, Tenants
from routemoa.core.protocols import CallResult
from routemoa.core.usage import Usage
from routemoa.ledger.budgets.budget_check import TenantBudgets
from routemoa.ledger.sqlite import transactions
from routemoa.ledger.sqlite.transactions import LedgerDatabase
from routemoa.ledger.steps import FinishedCall, StartedCall, WithdrawnCall, to_picodollars

NOON = 1_795_608_000.0
BUDGETS = TenantBudgets(Tenants((Tenant("acme", "K", 1e6),), SpendingLimits(), (b"",)))
RESULT = CallResult(Usage(10, 20, 0), 0.01, 0.01, 0.5, "ok")
OLD_INDEX = "CREATE INDEX calls_open ON calls (owner) WHERE outcome = 'open'"


def open_database(path: Path) -> LedgerDatabase:
    return LedgerDatabase(path, BUDGETS, lambda: NOON)


def new_call(most: float = 0.02) -> StartedCall:
    return StartedCall("r", NOON, "acme", "m", "model", "direct", most)


def kill(database: LedgerDatabase) -> None:
    """Leave a database as a process that is killed does: its lock is free, and its file stays."""
    lock = database._process_lock
    assert lock._lock is not None
    os.close(lock._lock)
    lock._lock = None
    database._connection.close()


def ask(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


actions = st.lists(
    st.tuples(st.sampled_from(["start", "start", "finish", "withdraw", "kill"]), st.integers(0, 1), st.integers(0, 9)),
    max_size=30,
)


@settings(max_examples=12, deadline=None)
@given(steps=actions)
def test_no_call_of_a_killed_process_stays_open(
    steps: list[tuple[str, int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Two processes write, take calls back so that ids are given again, and are killed; each looks at every write."""
    path = tmp_path_factory.mktemp("ledger") / "store.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transactions, "CLEANUP_INTERVAL", -1.0)
        processes = [open_database(path), open_database(path)]
        under_way: list[list[StartedCall]] = [[], []]
        spent = held = 0
        for action, which, pick in steps:
            calls = under_way[which]
            if action == "kill":
                kill(processes[which])
                processes[which] = open_database(path)
                lost = sum(to_picodollars(c.max_cost) for c in calls)
                spent, held = spent + lost, held - lost
                calls.clear()
            elif action == "start":
                calls.append(new_call())
                processes[which].write([calls[-1]])
                held += to_picodollars(0.02)
            elif calls:
                call = calls.pop(pick % len(calls))
                is_finished = action == "finish"
                processes[which].write([FinishedCall(call, RESULT) if is_finished else WithdrawnCall(call)])
                held, spent = held - to_picodollars(0.02), spent + is_finished * to_picodollars(0.01)
            assert ask(path, "SELECT spent, held FROM windows WHERE key = 'acme'") in ([], [(spent, held)] * 2)
            assert len(ask(path, "SELECT 1 FROM calls WHERE outcome = 'open'")) == sum(map(len, under_way))
        for database in processes:
            database.close()
        assert ask(path, "SELECT * FROM owners") == []
        assert ask(path, "SELECT 1 FROM calls WHERE outcome = 'open'") == []


def test_a_file_with_an_index_of_open_calls_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    dead, alive = open_database(path), open_database(path)
    calls = [new_call() for _ in range(4)]
    dead.write(calls[:2])
    alive.write(calls[2:])
    with closing(sqlite3.connect(path)) as connection:  # as earlier versions wrote it
        connection.execute("DROP TABLE owners")
        connection.execute(OLD_INDEX)
        connection.commit()
    kill(dead)
    database = open_database(path)
    assert ask(path, "SELECT outcome FROM calls ORDER BY id") == [("lost",), ("lost",), ("open",), ("open",)]
    assert ask(path, "SELECT name FROM sqlite_master WHERE name = 'calls_open'") == []
    alive.write([FinishedCall(calls[2], RESULT)])  # it goes on as before
    kill(alive)
    database.close()
    assert ask(path, "SELECT outcome, charged FROM calls ORDER BY id")[2:] == [("ok", 0.01), ("lost", 0.02)]


def test_a_process_of_an_earlier_version_that_dies_is_found_by_its_lock(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    earlier = open_database(path)
    earlier.write([new_call()])
    with closing(sqlite3.connect(path)) as connection:  # which writes no row
        connection.execute("DELETE FROM owners")
        connection.commit()
    kill(earlier)
    open_database(path).close()
    assert ask(path, "SELECT outcome FROM calls") == [("lost",)]
