"""Rates that several gateways share through a real Redis: the rule of one process, leases that end, a server away."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from routemoa.core.access.tenants import Tenant
from routemoa.core.errors import ConfigError, MissingExtra
from routemoa.gateway.access import stored_rates
from routemoa.gateway.access.rates import MemoryRates
from routemoa.gateway.access.stored_rates import StoredRates
from routemoa.ledger.location import SharedUrl, find_shared
from routemoa.ledger.redis.rates import RedisRates
from tests.gateway.access.rate_laws import check_rule_of_one_process, reserve_many, until
from tests.ledger.redis.fixtures import redis_server
from tests.ledger.redis.server import RedisServer

__all__ = ["redis_server"]


@asynccontextmanager
async def gateways(url: SharedUrl, count: int, lease: float = 20.0) -> AsyncGenerator[list[StoredRates]]:
    """So many gateways' rates in one server, all running."""
    rates = [StoredRates(RedisRates(url, lease)) for _ in range(count)]
    tasks = [asyncio.create_task(r.watch()) for r in rates]
    yield rates
    for task, r in zip(tasks, rates, strict=True):
        task.cancel()
        await r.aclose()


async def test_the_rule_is_that_of_one_process(redis_server: RedisServer) -> None:
    async with gateways(redis_server.new_url(), 2) as both:
        await check_rule_of_one_process(both, MemoryRates(lambda: 0.0), tolerance=2.0)


async def test_four_gateways_at_once_keep_one_limit(redis_server: RedisServer) -> None:
    tenant = Tenant("all", "", requests_per_minute=200, concurrent_streams=1000)
    async with gateways(redis_server.new_url(), 4) as all_:
        began = asyncio.get_running_loop().time()
        taken = sum(await asyncio.gather(*(reserve_many(r, tenant, 100, stream=True) for r in all_)))
        filled = (asyncio.get_running_loop().time() - began) * 200 / 60
        assert 200 <= taken <= 200 + filled + 1
        assert (await all_[0].look(tenant)).streams <= taken


async def test_the_streams_of_a_dead_gateway_come_back(redis_server: RedisServer) -> None:
    tenant, url = Tenant("t", "", concurrent_streams=3), redis_server.new_url()
    async with gateways(url, 1, lease=0.4) as (living,), gateways(url, 1, lease=0.4) as (dead,):
        dead._renewed = float("inf")  # as if it were killed: it renews no more
        assert await reserve_many(dead, tenant, 2, tokens=0, stream=True) == 2
        assert await reserve_many(living, tenant, 2, tokens=0, stream=True) == 1
        async with asyncio.timeout(5):
            while await living.reserve(tenant, 0, stream=True) is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert await living.reserve(tenant, 0, stream=True) is None


async def test_a_killed_server_leaves_the_rates_to_each_gateway(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_rates, "TICK_SECONDS", 0.1)
    tenant = Tenant("t", "", requests_per_minute=10)
    async with gateways(redis_server.new_url(), 2) as both:
        assert [await reserve_many(r, tenant, 4) for r in both] == [4, 4]
        redis_server.kill()
        taken = [await reserve_many(r, tenant, 20) for r in both]
        assert all(2 <= n <= 6 for n in taken), "each goes on from what it saw last"
        assert all(r.is_cut_off for r in both)
        await asyncio.to_thread(redis_server.start)
        await until(lambda: not any(r.is_cut_off for r in both))
        assert await reserve_many(both[0], tenant, 20) <= 1, "it has forgotten, and heard what was counted"


def test_a_url_is_checked_and_its_password_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("redis")
    assert find_shared({}) is None
    url = find_shared({"ROUTEMOA_SHARED": "redis://moa:pa55@host:6380/2?password=pa55"})
    assert url is not None
    assert (str(url), repr(url)) == ("redis://moa@host:6380/2", "SharedUrl('redis://moa@host:6380/2')")
    assert str(SharedUrl("redis://:pa55@host/0")) == "redis://host/0"
    assert find_shared({"ROUTEMOA_SHARED": "rediss://:pa55@host:6380"}) is not None
    for wrong in ("postgresql://moa:pa55@host/moa", "host:6379", "redis://:pa55@host/one", "redis://host/0/1"):
        with pytest.raises(ConfigError, match="write redis://HOST") as e:
            find_shared({"ROUTEMOA_SHARED": wrong})
        assert "pa55" not in str(e.value)
    with pytest.raises(ConfigError, match="correct ROUTEMOA_SHARED") as e:
        RedisRates(SharedUrl("redis://:pa55@host:port/0"))
    assert "pa55" not in str(e.value)
    monkeypatch.setitem(sys.modules, "redis.asyncio.connection", None)
    with pytest.raises(MissingExtra, match="redis"):
        RedisRates(url)
