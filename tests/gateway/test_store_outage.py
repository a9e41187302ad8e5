"""A server whose PostgreSQL is killed: requests without a budget are answered, others fail closed, all is counted."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from routemoa.core.access.secret_keys import digest_secret
from routemoa.core.access.tenants import Tenant
from routemoa.core.tables.traces_table import TraceSettings
from routemoa.gateway.traces import lookup
from routemoa.ledger import Store, StoreUrl, read_calls
from routemoa.ledger.keys import create_key, read_keys
from routemoa.ledger.trace_store.traces import TraceStore, read_traces, traces_path
from routemoa.testing import FakeEndpoint
from tests.gateway.harness import Response, Serving, serving
from tests.gateway.test_keys import ask, make_pool
from tests.ledger.postgres.server import PostgresServer


async def feedback(s: Serving, id_: str, key: str) -> Response:
    return await (await s.raw({"id": id_, "thumb": "up"}, "/feedback", {"Authorization": f"Bearer {key}"})).whole()


async def test_a_killed_database_under_requests(mortal_server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    url = mortal_server.make_database()
    free = create_key(url, Tenant("free", ""), time.time()).secret
    rich = create_key(url, Tenant("rich", "", 100.0), time.time()).secret
    async with FakeEndpoint("It is 4.") as e:
        pool = make_pool(e.url)
        traces = TraceStore(traces_path(url), TraceSettings())
        async with serving(pool=pool, store=Store(url, pool.tenants), traces=traces) as s:
            first = await ask(s, free)
            assert first.status == (await ask(s, rich)).status == 200
            assert (await feedback(s, first.json["id"], free)).status == 200
            mortal_server.signal(signal.SIGSTOP)
            with monkeypatch.context() as patch:
                patch.setattr(lookup, "PATIENCE", 0.3)
                hanging = await asyncio.gather(*(feedback(s, first.json["id"], free) for _ in range(9)))
            assert {h.status for h in hanging} == {503}, "a database that hangs keeps no thread of the others"
            mortal_server.signal(signal.SIGCONT)
            mortal_server.kill()
            answers = await asyncio.gather(*(ask(s, free) for _ in range(20)))
            assert {a.status for a in answers} == {200}, "a known key needs no database"
            refused = await ask(s, rich)
            assert (refused.status, refused.json["error"]["code"]) == (503, "no_ledger")
            assert int(refused.headers["retry-after"]) > 0
            assert "moa" not in refused.body.decode()
            assert (await ask(s, "rmk_unknown")).status == 401
            await asyncio.to_thread(mortal_server.start)
            fresh = create_key(url, Tenant("fresh", ""), time.time()).secret
            async with asyncio.timeout(10):
                while {(await ask(s, key)).status for key in (rich, fresh)} != {200}:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            assert (await feedback(s, answers[0].json["id"], free)).status == 200
    calls = [c for c in read_calls(url) if c.purpose != "hedge"]  # the first calls after an outage may be slow
    assert {c.outcome for c in calls} == {"ok"}
    answered = sum(a.json["routemoa"]["calls"] for a in [first, *answers])
    assert sum(c.key == "free" for c in calls) == answered
    assert len([t for t in read_traces(url) if t.tenant == "free"]) == 21


async def test_keys_are_made_and_revoked_over_http(database: StoreUrl) -> None:
    async with FakeEndpoint("It is 4.") as e:
        pool = make_pool(e.url)
        async with serving(pool=pool, store=Store(database, pool.tenants), admin_key=digest_secret("root")) as s:
            made = await post_admin(s, "", b'{"name": "k"}')
            assert made.status == 201
            assert (await ask(s, made.json["key"])).status == 200
            assert (await post_admin(s, "", b'{"name": "k"}')).status == 409
            assert (await post_admin(s, "/k/revoke", b"")).status == 200
            assert (await ask(s, made.json["key"])).status == 401
    assert [key.state(time.time()) for key in read_keys(database)] == ["revoked"]


async def post_admin(s: Serving, path: str, body: bytes) -> Response:
    head = f"POST /admin/keys{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer root\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return await (await s.connect(head.encode() + body)).whole()
