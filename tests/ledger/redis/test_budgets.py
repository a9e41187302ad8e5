"""Budgets that several ledgers share through a real Redis: never overshot, whatever dies, hangs or forgets."""

from __future__ import annotations

import asyncio
import logging
import random
import shutil
import signal
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from routemoa.core.access.tenants import SpendingLimits, Tenant, Tenants
from routemoa.core.errors import BudgetExceeded
from routemoa.core.protocols import CallResult, CallStart
from routemoa.core.usage import Usage
from routemoa.ledger import BudgetExchange, Store, StoreError, StoreRecorder
from routemoa.ledger.location import SharedUrl
from routemoa.ledger.redis import connection
from routemoa.ledger.redis.budgets import RedisBudgets
from routemoa.ledger.sharing import budget_exchange
from routemoa.ledger.sums.corrections import correct_call
from routemoa.ledger.sums.queries import read_calls
from tests.ledger.redis.fixtures import redis_server
from tests.ledger.redis.server import RedisServer

__all__ = ["redis_server"]

TENANTS = Tenants((Tenant("t", "", max_cost_per_day=1.0), Tenant("free", "")))


class Gateway:
    """A ledger that shares its budgets."""

    def __init__(self, path: Path, url: SharedUrl, tenants: Tenants, lease: float) -> None:
        self.store = Store(path, tenants)
        exchange = self.store.share_budgets(RedisBudgets(url, lease, grace=0.1))
        assert exchange is not None
        self.exchange: BudgetExchange = exchange
        self.task = asyncio.create_task(exchange.watch())

    async def start(self, dollars: float, key: str = "t") -> tuple[StoreRecorder, int]:
        recorder = self.store.recorder(key, "routemoa")
        return recorder, await recorder.start(CallStart("a", "proposal", dollars))

    async def spend(self, most: float, dollars: float, key: str = "t") -> float:
        """Make one call; return what it has cost, nothing where it does not fit."""
        try:
            recorder, number = await self.start(most, key)
        except BudgetExceeded:
            return 0.0
        await asyncio.sleep(0)
        recorder.finish(number, CallResult(Usage(1, 1), dollars, dollars, 0.1, "ok"))
        return dollars

    async def left(self) -> float:
        """Return what all gateways have left of the tenant's day."""
        self.store.reload_budget("t")
        await asyncio.sleep(0.05)
        left = self.store.remaining_budget("t")
        assert left is not None
        assert left.day is not None
        return left.day

    async def end(self) -> None:
        self.task.cancel()
        await self.exchange.aclose()
        await self.store.aclose()


@asynccontextmanager
async def gateways(
    folder: Path, url: SharedUrl, count: int = 2, tenants: Tenants = TENANTS, lease: float = 20.0
) -> AsyncGenerator[list[Gateway]]:
    """So many gateways with a ledger each."""
    all_ = [Gateway(folder / f"{i}.db", url, tenants, lease) for i in range(count)]
    yield all_
    for gateway in all_:
        await gateway.end()


async def is_refused_for_now(gateway: Gateway, dollars: float) -> bool:
    with pytest.raises(BudgetExceeded) as refused:
        await gateway.start(dollars)
    return refused.value.temporary


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget_exchange, "TICK_SECONDS", 0.1)
    monkeypatch.setattr(budget_exchange, "DEAD_SECONDS", 0.1)


@pytest.mark.parametrize("totals", [False, True], ids=["a tenant's", "all tenants'"])
async def test_many_clients_of_four_gateways_never_overshoot(
    tmp_path: Path, redis_server: RedisServer, totals: bool
) -> None:
    tenants = Tenants(TENANTS.members[1:], SpendingLimits(1.0)) if totals else TENANTS
    key, rng = "free" if totals else "t", random.Random(1)

    async def client(gateway: Gateway) -> float:
        return sum([await gateway.spend(0.01, rng.choice([0.0012345, 0.01, 0.004]), key) for _ in range(5)])

    async with gateways(tmp_path, redis_server.new_url(), 4, tenants) as all_:
        spent = sum(await asyncio.gather(*(client(all_[i % 4]) for i in range(200))))
        assert 0.7 < spent <= 1.0
        await asyncio.gather(*(g.store.flush() for g in all_))
        while cost := await all_[0].spend(0.01, 0.01, key):
            spent += cost
        assert 0.98 < spent <= 1.0
        await asyncio.gather(*(g.store.flush() for g in all_))
        with pytest.raises(BudgetExceeded, match=r"of \$1.00 is left of this day's budget"):
            await all_[0].start(0.02, key)
    ledgers = sum(e.charged or 0.0 for i in range(4) for e in read_calls(tmp_path / f"{i}.db"))
    assert ledgers == pytest.approx(spent)


async def test_what_a_dead_gateway_held_counts_as_spent_and_once_when_it_is_back(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    url = redis_server.new_url()
    async with gateways(tmp_path, url, 1, lease=0.4) as (living,):
        dead = Gateway(tmp_path / "dead.db", url, TENANTS, 0.4)
        await dead.spend(0.2, 0.1)
        await dead.start(0.5)
        dead.task.cancel()  # as if it were killed: it renews no more
        await dead.exchange._store.aclose()
        assert await is_refused_for_now(living, 0.6), "calls under way may free some of it"
        async with asyncio.timeout(5):
            while await is_refused_for_now(living, 0.6):  # noqa: ASYNC110
                await asyncio.sleep(0.05)  # until the lease ends: it may all have been spent
        assert await living.left() == pytest.approx(0.4)
        await dead.store.aclose()  # settles what is open at its most, as the next process does
        again = Gateway(tmp_path / "dead.db", url, TENANTS, 0.4)
        await until(lambda: again.exchange._is_joined)
        assert await living.left() == pytest.approx(0.4)
        await again.spend(0.1, 0.1)
        await again.store.flush()
        assert await living.left() == pytest.approx(0.3)
        await again.end()


async def test_a_server_that_was_killed_and_has_forgotten_hears_of_all_that_was_spent(
    tmp_path: Path, redis_server: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with caplog.at_level(logging.WARNING, "routemoa.ledger"):
        async with gateways(tmp_path, redis_server.new_url()) as both:
            assert [await g.spend(0.2, 0.1) for g in both] == [0.1, 0.1]
            recorder, number = await both[0].start(0.3)
            ends, ended = await both[1].start(0.2)
            redis_server.kill()
            with pytest.raises(StoreError, match="redis://127"):
                await both[0].start(0.1)
            await until(lambda: all(g.exchange.error is not None for g in both))
            assert await both[1].spend(0.1, 0.05, "free") == 0.05, "without a budget calls go on"
            ends.finish(ended, CallResult(Usage(1, 1), 0.15, 0.15, 0.1, "ok"))
            await asyncio.to_thread(redis_server.start)
            await until(lambda: all(g.exchange.error is None for g in both))
            assert await both[1].spend(0.4, 0.0) == 0.0
            assert await both[1].left() == pytest.approx(1.0 - 0.2 - 0.15 - 0.3)
            recorder.finish(number, CallResult(Usage(1, 1), 0.05, 0.05, 0.1, "ok"))
            await both[0].store.flush()
            redis_server.execute("FLUSHALL")
            assert await both[0].spend(0.01, 0.01) == 0.01
            await until(lambda: all(g.exchange._is_joined for g in both))
            assert await both[1].left() == pytest.approx(1.0 - 0.2 - 0.15 - 0.05 - 0.01)
            monkeypatch.setattr(connection, "TIMEOUT", 0.3)
            redis_server.signal(signal.SIGSTOP)  # it hangs
            with pytest.raises(StoreError):
                await both[0].start(0.1)
            redis_server.signal(signal.SIGCONT)
    assert "not-secret" not in caplog.text
    assert len([r for r in caplog.records if "calls under a budget fail" in r.message]) == 3, "each once, and then one"


async def test_two_processes_with_one_ledger_count_once_and_a_correction_frees(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    url, path = redis_server.new_url(), tmp_path / "s.db"
    both = [Gateway(path, url, TENANTS, 20.0) for _ in range(2)]
    assert sum(await asyncio.gather(*(g.spend(0.1, 0.1) for g in both * 2))) == pytest.approx(0.4)
    await asyncio.gather(*(g.store.flush() for g in both))
    assert await both[0].left() == pytest.approx(0.6)
    call = next(iter(read_calls(path))).id
    correct_call(path, call, 0.02, "a mistake", time.time())
    async with asyncio.timeout(5):
        while await both[1].left() != pytest.approx(0.68):
            await both[0].left()
    for g in both:
        await g.end()


async def test_a_copy_of_a_ledger_that_is_in_use_is_refused(tmp_path: Path, redis_server: RedisServer) -> None:
    async with gateways(tmp_path, redis_server.new_url(), 1) as (first,):
        await first.spend(0.1, 0.1)
        await first.store.flush()
        with closing(sqlite3.connect(tmp_path / "0.db")) as c:
            c.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copy(tmp_path / "0.db", tmp_path / "copy.db")
        second = Gateway(tmp_path / "copy.db", first.exchange._store._redis.url, TENANTS, 20.0)  # type: ignore[attr-defined]
        with pytest.raises(StoreError, match="another gateway uses a copy of this ledger"):
            await second.start(0.1)
        await second.end()


async def test_a_server_that_may_drop_what_was_spent_is_told_once(
    tmp_path: Path, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    redis_server.execute("CONFIG", "SET", "maxmemory", "100mb")
    redis_server.execute("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        async with gateways(tmp_path, redis_server.new_url(), 1) as (gateway,):
            for _ in range(2):
                assert await gateway.spend(0.1, 0.1) == 0.1
    finally:
        redis_server.execute("CONFIG", "SET", "maxmemory-policy", "noeviction")
    told = [r.getMessage() for r in caplog.records if "maxmemory-policy" in r.getMessage()]
    assert len(told) == 1
    assert "allkeys-lru" in told[0]
    assert "not-secret" not in told[0]
    caplog.clear()
    async with gateways(tmp_path / "again", redis_server.new_url(), 1) as (gateway,):
        assert await gateway.spend(0.1, 0.1) == 0.1
    assert "maxmemory-policy" not in caplog.text
