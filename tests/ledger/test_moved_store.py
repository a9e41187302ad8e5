"""A store that is deleted, replaced, damaged or full while it is in use: it is said, and no budget is kept twice."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from routemoa.core.access.tenants import SpendingLimits, Tenants
from routemoa.core.errors import BudgetExceeded
from routemoa.core.protocols import CallResult, CallStart
from routemoa.core.usage import Usage
from routemoa.ledger import Store, StoreError, read_calls

TENANTS = Tenants((), SpendingLimits(max_cost_per_day=1.0))


async def spend(store: Store, dollars: float) -> None:
    recorder = store.recorder(None, "routemoa")
    number = await recorder.start(CallStart("a", "proposal", dollars))
    recorder.finish(number, CallResult(Usage(1, 1), dollars, dollars, 0.1, "ok"))
    await store.flush()


def remove(path: Path) -> None:
    for file in path.parent.glob(path.name + "*"):
        shutil.rmtree(file) if file.is_dir() else file.unlink()


def spent(path: Path) -> float:
    """Return the dollars that all tenants have spent today, as the file says."""
    with closing(sqlite3.connect(path)) as c:
        rows = c.execute("SELECT spent FROM windows WHERE key = '*' AND length(window) = 10").fetchall()
    return sum(int(row[0]) for row in rows) / 1e12


@pytest.mark.parametrize("everything", [True, False], ids=["all files", "only the store"])
async def test_a_deleted_store_is_made_again_and_the_budget_counts_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, everything: bool
) -> None:
    path = tmp_path / "store.db"
    store = Store(path, TENANTS)
    await spend(store, 0.6)
    remove(path) if everything else path.unlink()
    with caplog.at_level(logging.WARNING):
        await spend(store, 0.3)
        with pytest.raises(BudgetExceeded):
            await spend(store, 0.2)
    assert "was deleted while it was in use" in caplog.text
    assert spent(path) == pytest.approx(0.9)
    await store.aclose()
    again = Store(path, TENANTS)
    with pytest.raises(BudgetExceeded):
        await spend(again, 0.2)
    await again.aclose()


async def test_a_replaced_store_never_lowers_what_was_spent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, backup = tmp_path / "store.db", tmp_path / "backup.db"
    store = Store(path, TENANTS)
    await spend(store, 0.2)
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(backup)) as target:
        source.backup(target)
    await spend(store, 0.5)
    os.replace(backup, path)
    with pytest.raises(BudgetExceeded), caplog.at_level(logging.WARNING):
        await spend(store, 0.4)
    assert "was replaced while it was in use" in caplog.text
    await spend(store, 0.3)
    assert spent(path) == pytest.approx(1.0)
    with closing(sqlite3.connect(path)) as c:
        assert c.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    await store.aclose()


async def test_calls_under_way_are_settled_in_the_new_file(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = Store(path, TENANTS)
    recorder = store.recorder(None, "routemoa")
    number = await recorder.start(CallStart("a", "proposal", 0.7))
    remove(path)
    with pytest.raises(BudgetExceeded):
        await spend(store, 0.4)  # the call under way is still reserved
    recorder.finish(number, CallResult(Usage(1, 1), 0.1, 0.1, 0.1, "ok"))
    await store.flush()
    await spend(store, 0.4)
    assert spent(path) == pytest.approx(0.5)
    await store.aclose()
    assert [call.outcome for call in read_calls(path)] == ["ok", "ok"]


async def test_several_processes_that_share_a_deleted_store_count_together(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    one, other = Store(path, TENANTS), Store(path, TENANTS)
    await spend(one, 0.3)
    await spend(other, 0.3)
    remove(path)
    await spend(one, 0.1)
    with pytest.raises(BudgetExceeded):
        await spend(other, 0.4)
    await spend(other, 0.3)
    with pytest.raises(BudgetExceeded):
        await spend(one, 0.1)
    assert spent(path) == pytest.approx(1.0)
    await one.aclose()
    await other.aclose()


async def test_a_file_that_is_no_store_keeps_budgets_shut_and_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("routemoa.ledger.sqlite.writer.RETRY_INTERVAL", 0.01)
    path = tmp_path / "store.db"
    store, free = Store(path, TENANTS), Store(tmp_path / "free.db")
    await spend(store, 0.1)
    for file in (path, tmp_path / "free.db"):
        file.unlink()
        file.write_bytes(b"not a database, but a long enough text " * 100)
    with caplog.at_level(logging.WARNING):
        for _ in range(20):
            with pytest.raises(StoreError, match="not a store"):
                await store.recorder(None, "m").start(CallStart("a", "proposal", 0.1))
        assert len(caplog.records) == 1
        await free.recorder(None, "m").start(CallStart("a", "proposal", 0.1))  # without a budget the call is made
    path.unlink()
    for _ in range(500):
        if store.state.error is None:
            break
        await asyncio.sleep(0.01)
    await spend(store, 0.1)  # mended
    assert spent(path) == pytest.approx(0.2)
    await store.aclose()
    free.close()


async def test_a_folder_that_is_gone_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "data" / "store.db"
    store = Store(path, TENANTS)
    await spend(store, 0.1)
    shutil.rmtree(path.parent)
    await spend(store, 0.1)
    assert spent(path) == pytest.approx(0.2)
    await store.aclose()
