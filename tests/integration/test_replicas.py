"""Two servers with one PostgreSQL are one: rates, streams, traces. Where it is away each goes on for itself."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from routemoa.core.access.tenants import Tenant
from routemoa.core.tables.traces_table import TraceSettings
from routemoa.gateway.access import stored_rates
from routemoa.ledger import Store
from routemoa.ledger.keys import create_key
from routemoa.ledger.trace_store.traces import TraceStore, traces_path
from routemoa.testing import FakeEndpoint
from tests.gateway.harness import serving, until
from tests.gateway.test_keys import ask, get, make_pool
from tests.ledger.postgres.server import PostgresServer


async def test_two_servers_with_one_database(mortal_server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_rates, "TICK_SECONDS", 0.1)
    monkeypatch.setattr(stored_rates, "RENEWALS", 1e9)
    url = mortal_server.make_database()
    key = create_key(url, Tenant("t", "", requests_per_minute=4), time.time()).secret
    async with FakeEndpoint("It is 4.") as e:
        pool = make_pool(e.url)

        def parts() -> dict[str, Any]:
            return {"store": Store(url, pool.tenants), "traces": TraceStore(traces_path(url), TraceSettings())}

        async with serving(pool=pool, **parts()) as one, serving(pool=pool, **parts()) as other:
            answers = [await ask(s, key) for s in (one, other, one)]
            assert [a.status for a in answers] == [200, 200, 200]
            assert answers[2].headers["x-ratelimit-remaining-requests"] == "1", "of both"
            trace = await get(other, f"/v1/traces/{answers[2].json['id']}", {"Authorization": f"Bearer {key}"})
            assert trace.status == 200, "at once, though the other server writes it"
            assert [(await ask(s, key)).status for s in (other, one)] == [200, 429]
            mortal_server.kill()
            assert [(await ask(s, key)).status for s in (one, other)] == [429, 429], "they go on from what they saw"
            async with asyncio.timeout(10):
                while (await get(one, "/healthz", {})).json != {"status": "ok", "rates": "cut off"}:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            metrics = (await get(one, "/metrics", {"Authorization": f"Bearer {key}"})).body.decode()
            assert "\nroutemoa_rates_cut_off 1.0\n" in metrics
            await asyncio.to_thread(mortal_server.start)
            async with asyncio.timeout(10):
                while (await get(one, "/healthz", {})).json != {"status": "ok"}:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            for s in (one, other):  # the endpoint has a task for each connection
                await s.client.close()
            await until(lambda: not (e.open_connections or one.server.server_state.tasks))
