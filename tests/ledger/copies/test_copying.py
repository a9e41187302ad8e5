"""A file is copied into a database: whole, once, and again where it was interrupted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from routemoa.core.access.tenants import Tenant, Tenants
from routemoa.core.errors import ConfigError
from routemoa.core.protocols import CallResult, CallStart
from routemoa.core.tables.traces_table import TraceSettings
from routemoa.core.usage import Usage
from routemoa.ledger import LedgerEntry, Store, StoreLocation, StoreUrl, correct_call, read_calls
from routemoa.ledger.connections import Connection
from routemoa.ledger.copies import copied_traces, copying
from routemoa.ledger.copies.copied_traces import CopiedTable
from routemoa.ledger.copies.copying import copy_store
from routemoa.ledger.keys import create_key, read_keys, revoke_key
from routemoa.ledger.trace_store.traces import Feedback, TraceStore, read_traces, traces_path
from tests.ledger.trace_store.test_traces import answer


async def spend(place: StoreLocation, calls: int, *, note: str = "") -> None:
    store = Store(place)
    for number in range(calls):
        recorder = store.recorder("acme" if number % 2 else None, "m")
        call = await recorder.start(CallStart("a", "proposal", 0.2))
        recorder.finish(call, CallResult(Usage(number, None), 0.1, 0.1, 0.5, "ok", note))
    await store.aclose()


def keep_traces(place: StoreLocation, first: int, count: int) -> None:
    traces = TraceStore(traces_path(place), TraceSettings())
    for number in range(first, first + count):
        traces.add(str(number), answer(f"answer {number}"), "acme")
    traces.flush()
    for _ in range(2):
        assert traces.add_feedback(str(first), "acme", Feedback(0.5))
    traces.close()


@pytest.fixture
async def file(tmp_path: Path) -> Path:
    place = tmp_path / "store.db"
    await spend(place, 25, note="odd")
    correct_call(place, 3, 5.0, "the invoice", time.time())
    create_key(place, Tenant("ci", "", 2.0, models=("a",)), 1.0)
    keep_traces(place, 0, 7)
    return place


def figures(place: StoreLocation) -> list[LedgerEntry]:
    """All calls, but for their ids."""
    return [LedgerEntry(0, *[getattr(c, f) for f in c.__struct_fields__[1:]]) for c in read_calls(place)]


def rows(tables: list[CopiedTable]) -> dict[str, tuple[int, int, int]]:
    assert all(t.is_whole for t in tables), tables
    return {t.table: (t.source, t.copied, t.target) for t in tables}


def left(place: StoreLocation) -> float | None:
    store = Store(place, Tenants((Tenant("acme", "K", 100.0),), digests=(b"",)))
    budget = store.remaining_budget("acme")
    store.close()
    assert budget is not None
    return budget.day


async def test_everything_is_there_and_a_second_copy_adds_nothing(file: Path, database: StoreUrl) -> None:
    once = rows(copy_store(file, database))
    assert once["calls"] == (25, 25, 25)
    assert once["notes"] == (26, 26, 26)
    assert once["traces"] == (7, 7, 7)
    assert once["feedback"] == (2, 2, 2)
    for again in range(2):
        assert rows(copy_store(file, database)) == {t: (a, 0, c) for t, (a, _, c) in once.items()}, again
    assert figures(database) == figures(file)
    assert read_keys(database) == read_keys(file)
    assert list(read_traces(database)) == list(read_traces(traces_path(file)))
    assert left(database) == left(file)


async def test_a_copy_that_was_interrupted_is_continued(
    file: Path, database: StoreUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copied_traces, "CHUNK", 10)
    whole, chunks = copying._insert_calls, 0

    def insert(connection: Connection, source: str, chunk: Sequence[tuple[Any, ...]]) -> int:
        nonlocal chunks
        chunks += 1
        if chunks == 2:
            raise KeyboardInterrupt
        return whole(connection, source, chunk)

    monkeypatch.setattr(copying, "_insert_calls", insert)
    with pytest.raises(KeyboardInterrupt):
        copy_store(file, database)
    assert len(figures(database)) == 10
    assert rows(copy_store(file, database))["calls"] == (25, 15, 25)
    assert figures(database) == figures(file)


async def test_what_is_there_stays_and_what_is_new_is_added(file: Path, database: StoreUrl) -> None:
    await spend(database, 4)
    create_key(database, Tenant("ci", "", 9.0), 1.0)
    before = left(file)
    tables = copy_store(file, database)
    keys = next(t for t in tables if t.table == "keys")
    assert keys.skipped == ("key 'ci'",)
    assert read_keys(database)[0].tenant.max_cost_per_day == 9.0
    assert before is not None
    assert left(database) == pytest.approx(before - 0.2)
    await spend(file, 6)
    keep_traces(file, 7, 3)
    create_key(file, Tenant("late", ""), 2.0)
    revoke_key(file, "late", 3.0)
    more = rows(copy_store(file, database))
    assert more["calls"] == (31, 6, 31)
    assert more["traces"] == (10, 3, 10)
    assert more["feedback"][1] == 2
    assert len(figures(database)) == 35
    assert left(database) == pytest.approx(before - 0.2 - 0.3)
    assert [k.state(9.0) for k in read_keys(database)] == ["active", "revoked"]


async def test_a_file_in_use_is_not_copied(tmp_path: Path, database: StoreUrl) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        copy_store(tmp_path / "none.db", database)
    store = Store(tmp_path / "store.db")
    await store.recorder(None, "m").start(CallStart("a", "proposal", 0.2))
    with pytest.raises(ConfigError, match="1 calls are under way"):
        copy_store(tmp_path / "store.db", database)
    await store.aclose()
    assert rows(copy_store(tmp_path / "store.db", database))["calls"] == (1, 1, 1)
