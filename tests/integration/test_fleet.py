"""Two servers as processes with a ledger each, and a real Redis between them that is killed; then a server is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from routemoa.testing import FakeEndpoint
from tests.gateway.harness import HI
from tests.gateway.lifecycle.test_server import Served, serve
from tests.ledger.redis.server import RedisServer

POOL = """
[[model]]
name = "a"
endpoint = "{}"
input_price = 10.0
output_price = 10.0
prior = 0.6

[[tenant]]
name = "rated"
key_env = "RATED"
requests_per_minute = 10

[[tenant]]
name = "rich"
key_env = "RICH"
max_cost_per_day = 0.02
"""


class Asking:
    """Asks servers in turn, each with a key that is also the tenant's name."""

    def __init__(self, session: aiohttp.ClientSession, servers: list[Served]) -> None:
        self.session, self.servers = session, servers

    async def ask(self, server: Served, key: str, tokens: int = 20) -> tuple[int, dict[str, str], Any]:
        body = {"model": "routemoa", "messages": HI, "max_tokens": tokens}
        headers = {"authorization": f"Bearer {key}"}
        async with self.session.post(f"{server.url}/chat/completions", json=body, headers=headers) as response:
            return response.status, dict(response.headers), await response.json()

    async def ask_many(self, count: int, key: str, tokens: int = 20) -> list[int]:
        """Return the statuses of so many requests at once."""
        asked = (self.ask(self.servers[i % len(self.servers)], key, tokens) for i in range(count))
        return [status for status, _, _ in await asyncio.gather(*asked)]

    async def left(self, server: Served) -> float:
        """Ask once; return the dollars that all servers together have left of the day then."""
        status, headers, _ = await self.ask(server, "rich")
        assert status == 200
        return float(headers["x-routemoa-remaining-day"])

    async def health(self) -> list[dict[str, Any]]:
        """Return what the servers say of themselves."""
        return [await self._get(s.url.removesuffix("/v1") + "/healthz") for s in self.servers]

    async def until(self, condition: Callable[[dict[str, Any]], bool]) -> None:
        async with asyncio.timeout(10):
            while not all(map(condition, await self.health())):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def _get(self, url: str) -> dict[str, Any]:
        async with self.session.get(url) as response:
            found: dict[str, Any] = await response.json()
            return found


async def test_two_servers_share_rates_and_budgets(
    tmp_path: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"RATED": "rated", "RICH": "rich", "ROUTEMOA_SHARED": redis_server.new_url().secret}.items():
        monkeypatch.setenv(name, value)
    async with FakeEndpoint("four") as e, aiohttp.ClientSession() as session, AsyncExitStack() as ending:
        pool = tmp_path / "pool.toml"
        pool.write_text(POOL.format(e.url))
        starting = [serve(pool, "--store", str(tmp_path / f"{i}.db"), "--no-watch") for i in range(2)]
        servers = list(await asyncio.gather(*map(ending.enter_async_context, starting)))
        asking = Asking(session, servers)
        counts = [(await asking.ask(servers[i % 2], "rated"))[1]["x-ratelimit-remaining-requests"] for i in range(4)]
        assert counts == ["9", "8", "7", "6"], "each sees what the other one counted"
        assert (await asking.ask_many(10, "rated")).count(200) == 6
        statuses = await asking.ask_many(30, "rich")
        assert set(statuses) <= {200, 429}
        assert len(e.requests) == 10 + statuses.count(200)
        left = [await asking.left(s) for s in servers * 2]
        cost = left[0] - left[1]
        assert left == [pytest.approx(left[0] - i * cost) for i in range(4)]
        # Redis is killed: rates go on in each server, budgets do not.
        redis_server.kill()
        assert (await asking.ask_many(2, "rich")) == [503, 503]
        status, _, body = await asking.ask(servers[0], "rich")
        assert (status, body["error"]["code"]) == (503, "no_ledger")
        assert set(await asking.ask_many(4, "rated")) <= {200, 429}
        await asking.until(lambda h: (h.get("rates"), h.get("budgets")) == ("cut off", "cut off"))
        await asyncio.to_thread(redis_server.start)
        await asking.until(lambda h: h == {"status": "ok"})
        assert await asking.left(servers[1]) == pytest.approx(left[3] - cost), "it has heard again what was spent"
        # A server is killed: the other one goes on.
        os.kill(servers[1].process.pid, 9)
        assert await asking.left(servers[0]) == pytest.approx(left[3] - 2 * cost)
        servers[0].process.terminate()
        code, log = await servers[0].end()
        assert code == 0
        assert "not-secret" not in log
