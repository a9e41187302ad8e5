"""Applications of `create_app` share through a real Redis what servers of `routemoa serve` share."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from routemoa.clients.endpoints.memory import MemberMemory
from routemoa.clients.http import HttpClient
from routemoa.core.errors import ConfigError
from routemoa.core.pool_file.pool import parse_pool
from routemoa.gateway import create_app
from routemoa.gateway.fleet import join_fleet
from routemoa.ledger import Store
from routemoa.testing import FakeEndpoint
from tests.conftest import MakePool
from tests.gateway.harness import HI, serving
from tests.ledger.redis.server import RedisServer

POOL = """
[[model]]
name = "a"
endpoint = "{}"
input_price = 10.0
output_price = 10.0
prior = 0.6

[[tenant]]
name = "t"
key_env = "T_KEY"
requests_per_minute = 10
"""


async def test_they_share_rates_budgets_and_what_they_learn(
    tmp_path: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, headers = redis_server.new_url(), {"authorization": "Bearer sk-of-t"}
    monkeypatch.setenv("ROUTEMOA_SHARED", url.secret)
    async with FakeEndpoint("four") as e, aiohttp.ClientSession(headers=headers) as http:
        pool = parse_pool(POOL.format(e.url), "pool.toml", tmp_path, {"T_KEY": "sk-of-t"})
        memory, fleet = MemberMemory(), join_fleet(url, pool)
        fleet.news.follow(pool, memory, {})
        left = []
        for i in range(2):
            async with serving(pool=pool, store=Store(tmp_path / f"{i}.db", pool.tenants)) as server:
                for _ in range(2):
                    body = {"model": "a", "messages": HI}
                    async with http.post(f"{server.url}/chat/completions", json=body) as response:
                        left.append(response.headers["x-ratelimit-remaining-requests"])
                async with http.get(server.url.removesuffix("v1") + "metrics") as response:
                    assert "\nroutemoa_budgets_cut_off 0.0\n" in await response.text()
                server.client.memory.note_lack(pool.models[0], "tools")
                async with asyncio.timeout(5):
                    while not memory.lacks(pool.models[0], "tools"):
                        await fleet.news.exchange()
        assert left == ["9", "8", "7", "6"]
        await fleet.news.aclose()


def test_a_wrong_url_is_said_when_the_application_is_made(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTEMOA_SHARED", "http://redis")
    with pytest.raises(ConfigError, match="ROUTEMOA_SHARED"):
        create_app({}, make_pool("a"), HttpClient())
