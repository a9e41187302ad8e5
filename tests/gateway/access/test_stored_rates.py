"""Rates that several gateways share through a real PostgreSQL: one rule for all, leases that end, and a store away."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from routemoa.core.access.tenants import Tenant
from routemoa.gateway.access import stored_rates
from routemoa.gateway.access.rates import MemoryRates
from routemoa.gateway.access.stored_rates import StoredRates
from routemoa.ledger.location import StoreUrl
from routemoa.ledger.postgres.rates import PostgresRates
from tests.gateway.access.rate_laws import check_rule_of_one_process, reserve_many, until
from tests.ledger.postgres.server import PostgresServer


@asynccontextmanager
async def gateways(url: StoreUrl, count: int) -> AsyncGenerator[list[StoredRates]]:
    """So many gateways' rates in one database, all running."""
    rates = [StoredRates(PostgresRates(url)) for _ in range(count)]
    tasks = [asyncio.create_task(r.watch()) for r in rates]
    yield rates
    for task in tasks:
        task.cancel()
    for r in rates:
        await r.aclose()


async def test_the_rule_is_that_of_one_process(database: StoreUrl) -> None:
    async with gateways(database, 2) as both:
        wait = await check_rule_of_one_process(both, MemoryRates(), tolerance=3.0)
    assert 0.0 < (wait or 0.0) < 60.0


async def test_several_gateways_at_once_keep_one_limit_and_never_deadlock(
    postgres_server: PostgresServer, database: StoreUrl
) -> None:
    tenants = [Tenant(name, "", requests_per_minute=100, concurrent_streams=1000) for name in "abc"]
    deadlocks = f"SELECT deadlocks FROM pg_stat_database WHERE datname = '{database.secret.rpartition('/')[2]}'"
    before = postgres_server.execute("postgres", deadlocks)
    async with gateways(database, 4) as all_:
        asked = [(r, t) for i, r in enumerate(all_) for t in (tenants if i % 2 else tenants[::-1])]
        taken = await asyncio.gather(*(reserve_many(r, t, 60, stream=True) for r, t in asked))
        sums = [sum(n for n, (_, t) in zip(taken, asked, strict=True) if t is tenant) for tenant in tenants]
        assert all(100 <= n <= 103 for n in sums), "100 at once, and what has filled since"
        assert (await all_[0].look(tenants[0])).streams <= sums[0]
    assert postgres_server.execute("postgres", deadlocks) == before
    rows = postgres_server.execute(database.secret.rpartition("/")[2], "SELECT * FROM routemoa.rate_streams")
    assert rows == [], "who leaves holds nothing"


async def test_the_streams_of_a_dead_gateway_come_back_and_a_paused_one_counts_again(
    postgres_server: PostgresServer, database: StoreUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = Tenant("t", "", concurrent_streams=3)
    async with gateways(database, 2) as (living, dead):
        assert await reserve_many(dead, tenant, 2, stream=True) == 2
        assert await reserve_many(living, tenant, 2, stream=True) == 1
        later = "UPDATE routemoa.rate_streams SET expires = clock_timestamp() WHERE streams = 2"
        postgres_server.execute(database.secret.rpartition("/")[2], later)
        assert await reserve_many(living, tenant, 3, stream=True) == 2, "those of the dead are free"
        monkeypatch.setattr(stored_rates, "RENEWALS", 1e9)  # it was only paused, and goes on
        async with asyncio.timeout(5):
            while (await living.look(tenant)).streams != 5:
                await living.reserve(tenant, 0, stream=True)


async def test_a_store_that_is_away_leaves_the_rates_to_each_gateway(
    mortal_server: PostgresServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_rates, "TICK_SECONDS", 0.1)
    monkeypatch.setattr(stored_rates, "PATIENCE", 0.3)
    tenant = Tenant("t", "", requests_per_minute=10, concurrent_streams=10)
    url = mortal_server.make_database()
    with caplog.at_level(logging.WARNING, "routemoa.gateway"):
        async with gateways(url, 2) as both:
            assert [await reserve_many(r, tenant, 4, stream=True) for r in both] == [4, 4]
            mortal_server.kill()
            taken = [await reserve_many(r, tenant, 20, stream=True) for r in both]
            assert all(2 <= n <= 6 for n in taken), "each goes on from what it saw last"
            assert all(r.is_cut_off for r in both)
            assert (await both[0].look(tenant)).streams == 4 + taken[0], "its own alone"
            await both[0].settle(tenant, 0, stream=True)
            await asyncio.to_thread(mortal_server.start)
            await until(lambda: not any(r.is_cut_off for r in both))
            assert await reserve_many(both[0], tenant, 20) <= 1, "what was counted alone counts"
            await until(lambda: not any(r._is_unsure for r in both))
            await both[1].reserve(tenant, 0, stream=True)
            assert (await both[1].look(tenant)).streams == 8 + sum(taken) - 1
            mortal_server.signal(signal.SIGSTOP)  # it hangs
            assert len([await r.reserve(tenant, 0, stream=False) for r in both]) == 2
            assert all(r.is_cut_off for r in both)
            mortal_server.signal(signal.SIGCONT)
            await until(lambda: not any(r.is_cut_off for r in both))
    said = [r.message for r in caplog.records]
    assert len(said) == 8, "once, each time"
    assert all("not-secret" not in line for line in said)
