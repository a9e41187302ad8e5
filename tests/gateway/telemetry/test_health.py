"""/healthz says that the server works, /readyz whether it can answer."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from routemoa.core.pool_file.pool import Pool, parse_pool
from routemoa.gateway.telemetry import health
from routemoa.ledger import Store, read_calls
from routemoa.testing import FakeEndpoint, Fault
from tests.gateway.harness import HI, Serving, serving

KEYS = {"KEY": "s3cret-of-team", "FREE": "s3cret-of-free"}


async def get(served: Serving, path: str) -> tuple[int, dict[str, object]]:
    async with aiohttp.ClientSession() as session, session.get(served.url[:-3] + path) as got:
        return got.status, await got.json()


def pool_of(url: str, more: str = "") -> Pool:
    table = f'[[model]]\nname = "a"\nendpoint = "{url}"\ninput_price = 1.0\noutput_price = 1.0\n{more}'
    return parse_pool(table, "pool.toml", Path("."), KEYS)


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
            assert "1 ledger entry has waited" in str(body["reasons"])
            assert (await asking.whole()).status == 200
            assert (await get(served, "/readyz"))[0] == 200


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], capture_output=True, check=False)
    if mount.returncode:
        pytest.skip("only root may mount a small disk")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


async def test_a_full_disk_shows_and_budgets_fail_closed_until_there_is_room(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("routemoa.ledger.sqlite.writer.RETRY_INTERVAL", 0.05)
    caplog.set_level(logging.WARNING)
    tenants = '[[tenant]]\nname = "team"\nkey_env = "KEY"\nmax_cost_per_day = 1.0\n[[tenant]]\nname = "free"\n'
    team, free = ({"authorization": f"Bearer {KEYS[name]}"} for name in ("KEY", "FREE"))
    async with FakeEndpoint("x") as upstream:
        pool = pool_of(upstream.url, f'{tenants}key_env = "FREE"\n')
        async with serving(pool=pool, store=Store(small_disk / "s.db", pool.tenants)) as served:

            async def ask(headers: dict[str, str]) -> int:
                return (await (await served.raw({"model": "a", "messages": HI}, headers=headers)).whole()).status

            async def count_unrecorded() -> str:
                url = served.url[:-3] + "/metrics"
                async with aiohttp.ClientSession() as session, session.get(url, headers=free) as got:
                    return next(
                        line for line in (await got.text()).split("\n") if line.startswith("routemoa_calls_unre")
                    )

            assert [await ask(team), await ask(free)] == [200, 200]
            fill = small_disk / "fill"
            with suppress(OSError), fill.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            assert [await ask(free) for _ in range(5)] == [200] * 5
            assert [await ask(team) for _ in range(5)] == [503] * 5
            status, body = await get(served, "/readyz")
            assert status == 503
            assert body["reasons"] == [
                "the store cannot be written: the disk is full; make room, or name another file in ROUTEMOA_STORE"
            ]
            assert await count_unrecorded() == "routemoa_calls_unrecorded_total 5.0"
            assert len([m for m in caplog.messages if "disk is full" in m]) == 1, "not one line for each call"
            fill.unlink()
            for _ in range(500):
                if (await get(served, "/readyz"))[0] == 200:
                    break
                await asyncio.sleep(0.01)
            assert [await ask(team), await ask(free)] == [200, 200]
            assert await count_unrecorded() == "routemoa_calls_unrecorded_total 5.0"
        assert "written again; 5 calls were made without a record" in caplog.text
        assert [c.outcome for c in read_calls(small_disk / "s.db")] == ["ok"] * 4
