"""Who sees what, over real sockets: the page is open, its data belongs to the caller's key."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from routemoa.core.access.secret_keys import digest_secret
from routemoa.core.tables.traces_table import TraceSettings
from routemoa.gateway.ui.page import STATIC
from routemoa.ledger import Store
from routemoa.ledger.trace_store.traces import TraceStore
from routemoa.testing import FakeEndpoint
from tests.gateway.harness import HI, Serving, serving
from tests.gateway.traces.test_endpoints import ACME, OTHER, TENANTS, pool_of

ADMIN = {"Authorization": "Bearer admin"}


@asynccontextmanager
async def showing(url: str, folder: Path, more: str = "", **options: Any) -> AsyncIterator[Serving]:
    pool = pool_of(url, more)
    traces = TraceStore(folder / "traces.db", TraceSettings())
    options = {"loopback": True, **options}
    async with serving(pool=pool, traces=traces, store=Store(folder / "s.db", pool.tenants), **options) as served:
        yield served


async def get(served: Serving, path: str, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    url = served.url.removesuffix("/v1") + path
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as reply:
        return reply.status, await reply.json()


async def ask(served: Serving, headers: dict[str, str] | None = None) -> str:
    reply = (await (await served.raw({"model": "routemoa", "messages": HI}, headers=headers)).whole()).json
    return str(reply["id"])


async def test_a_browser_gets_the_page_and_a_program_what_it_got_before(tmp_path: Path) -> None:
    async with showing("http://127.0.0.1:9/v1", tmp_path, TENANTS) as served, aiohttp.ClientSession() as session:
        origin = served.url.removesuffix("/v1")
        async with session.get(f"{origin}/", headers={"Accept": "text/html,*/*"}) as page:
            policy = page.headers["content-security-policy"]
            text = await page.text()
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "<script>" not in text
        for asset in (STATIC / "ui" / "assets").iterdir():
            async with session.get(f"{origin}/ui/assets/{asset.name}") as file:
                assert "immutable" in file.headers["cache-control"]
                assert await file.read() == asset.read_bytes()
        assert (await get(served, "/", {"Accept": "*/*"}))[0] == 404
        for path in ("/ui/assets/..%2f..%2fpage.py", "/ui/assets/none.js", "/ui/assets/.js"):
            assert (await get(served, path))[0] == 404


async def test_a_key_sees_its_own_traces_and_the_admin_key_all(tmp_path: Path) -> None:
    async with (
        FakeEndpoint("The answer is 4.") as upstream,
        showing(upstream.url, tmp_path, TENANTS, admin_key=digest_secret("admin")) as served,
    ):
        acme, other = await ask(served, ACME), await ask(served, OTHER)
        for headers, ids in ((ACME, {acme}), (OTHER, {other}), (ADMIN, {acme, other})):
            assert await until_listed(served, headers, len(ids)) == ids
            for id_ in (acme, other):
                status, _ = await get(served, f"/ui/api/traces/{id_}", headers)
                assert status == (200 if id_ in ids else 404)
        for path in ("/ui/api/traces", "/ui/api/about", f"/ui/api/traces/{acme}"):
            assert (await get(served, path))[0] == 401
            assert (await get(served, path, {"Authorization": "Bearer wrong"}))[0] == 401
        assert (await get(served, "/v1/models", ADMIN))[0] == 401, "the admin key opens no route of the API"


async def test_other_pages_and_other_machines_see_no_list(tmp_path: Path) -> None:
    async with FakeEndpoint("The answer is 4.") as upstream:
        async with showing(upstream.url, tmp_path) as served:
            id_ = await ask(served)
            assert await until_listed(served, {}, 1) == {id_}
            foreign = {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:3000"}
            assert (await get(served, "/ui/api/traces", foreign))[0] == 403
        async with showing(upstream.url, tmp_path, loopback=False) as served:
            status, body = await get(served, "/ui/api/traces")
            assert (status, body["error"]["code"]) == (403, "key_needed")


async def until_listed(served: Serving, headers: dict[str, str], count: int) -> set[str]:
    """The ids of the list, once it has so many: a thread of its own writes them."""
    found: set[str] = set()
    for _ in range(200):
        status, body = await get(served, "/ui/api/traces", headers)
        assert status == 200
        found = {f"chatcmpl-{row['id']}" for row in body["data"]}
        if len(found) >= count:
            break
        await asyncio.sleep(0.05)
    return found


def test_the_page_is_small() -> None:
    sizes = [len(gzip.compress(file.read_bytes(), 9)) for file in STATIC.rglob("*") if file.is_file()]
    assert len(sizes) >= 4
    assert sum(sizes) < 150_000
