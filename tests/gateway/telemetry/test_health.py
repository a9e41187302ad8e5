"""/healthz says that the server works, /readyz whether it can answer."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import aiohttp
import pytest

from routemoa.core.pool_file.pool import Pool, parse_pool
from routemoa.gateway.telemetry import health
from routemoa.ledger import Store
from routemoa.testing import FakeEndpoint, Fault
from tests.gateway.harness import HI, Serving, serving


async def get(served: Serving, path: str) -> tuple[int, dict[str, object]]:
    async with aiohttp.ClientSession() as session, session.get(served.url[:-3] + path) as got:
        return got.status, await got.json()


def pool_of(url: str, more: str = "") -> Pool:
    table = f'[[model]]\nname = "a"\nendpoint = "{url}"\ninput_price = 1.0\noutput_price = 1.0\n{more}'
    return parse_pool(table, "pool.toml", Path("."), {"KEY": "s3cret-of-team"})


async def test_a_server_is_ready_until_all_its_members_cool_down() -> None:
    broken = FakeEndpoint("x", Fault(status=500))
    async with broken as upstream, serving(pool=pool_of(upstream.url)) as served:
        assert await get(served, "/readyz") == (200, {"status": "ready"})
        for _ in range(4):
            await (await served.raw({"model": "a", "messages": HI})).whole()
        status, body = await get(served, "/readyz")
        assert status == 503
        assert body["status"] == "not ready"
        assert "all 1 members cool down" in str(body["reasons"])
        assert await get(served, "/healthz") == (200, {"status": "ok"}), "it works all the same"


async def test_a_ledger_that_cannot_be_written_makes_budgets_unready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "STALE_LEDGER_SECONDS", 0.2)
    tenants = '[[tenant]]\nname = "team"\nkey_env = "KEY"\nmax_cost_per_day = 1.0\n'
    async with FakeEndpoint("x") as upstream:
        pool = pool_of(upstream.url, tenants)
        async with serving(pool=pool, store=Store(tmp_path / "s.db", pool.tenants)) as served:
            assert (await get(served, "/readyz"))[0] == 200, "needs no key"
            locked = sqlite3.connect(tmp_path / "s.db", isolation_level=None)
            locked.execute("BEGIN IMMEDIATE")
            headers = {"authorization": "Bearer s3cret-of-team"}
            asking = await served.raw({"model": "a", "messages": HI}, headers=headers)
            await asyncio.sleep(0.5)
            status, body = await get(served, "/readyz")
            locked.execute("ROLLBACK")
            locked.close()
            assert status == 503
            assert "1 ledger entries have waited" in str(body["reasons"])
            assert (await asking.whole()).status == 200
            assert (await get(served, "/readyz"))[0] == 200
