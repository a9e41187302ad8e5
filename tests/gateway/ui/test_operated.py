"""The pages Quality and Pool with the admin key, on weeks of traffic, in a real server and a real browser."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from routemoa.core.pool_file.pool import Pool
from routemoa.testing import FakeEndpoint
from tests.browser import Tab, needs_browser
from tests.gateway.ui.conftest import PageServer
from tests.gateway.ui.driving import OVERFLOW, check_whole, click, fill
from tests.gateway.ui.traffic import fill_store

pytestmark = pytest.mark.asyncio(loop_scope="session")

KEY = "operator-key"
SECRET = "t0p-s3cret-team"


class Operated(PageServer):
    """A server with an admin key, weeks of traffic, a secret in a header, and a step of learning."""

    def __init__(self, folder: Path, upstream: FakeEndpoint) -> None:
        host = upstream.url.removesuffix("/v1")
        super().__init__(folder, upstream, ROUTEMOA_ADMIN_KEY=KEY, OLLAMA_HOST=host)
        self.file = self._pool
        self.plain = self._pool.read_text() + f'headers = {{ "X-Team" = "{SECRET}" }}\n'
        (folder / "learned").mkdir()
        (folder / "learned" / "one.toml").write_text("[shift]\nfast = 0.3\n")
        step = {"at": "2026-11-20T10:00:00+00:00", "action": "taken over", "path": "learned/one.toml", "figures": {}}
        (folder / "learned" / "log.jsonl").write_text(json.dumps(step) + "\n")
        self.file.write_text(f'{self.plain}\n[learning]\npath = "learned/one.toml"\n')
        traces = folder / "store-traces.db"
        fill_store(traces, Pool.from_toml(self.file), now=time.time(), answers=150, days=28, fallen="odd")

    async def ask(self, method: str, path: str, body: Any = None, key: str = KEY) -> tuple[int, Any]:
        """Send a request with the admin key, and return its status and JSON."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self.origin + path, json=body, headers=headers) as reply,
        ):
            return reply.status, await reply.json()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def operated(tmp_path_factory: Any) -> AsyncIterator[Operated]:
    """The server of these tests."""
    async with FakeEndpoint("ok") as upstream:
        server = await asyncio.to_thread(Operated, tmp_path_factory.mktemp("operated"), upstream)
        await asyncio.to_thread(server.start)
        yield server
        server.stop()


async def test_everything_that_changes_something_needs_the_admin_key(operated: Operated) -> None:
    for method, path in (
        ("PUT", "/admin/pool"),
        ("POST", "/admin/pool/check"),
        ("POST", "/admin/pool/probe"),
        ("GET", "/admin/pool/providers"),
        ("POST", "/admin/pool/providers/models"),
        ("POST", "/admin/pool/models"),
        ("POST", "/admin/learning/undo"),
        ("GET", "/ui/api/pool"),
        ("GET", "/ui/api/quality"),
    ):
        for key in ("", "wrong"):
            assert (await operated.ask(method, path, {} if method != "GET" else None, key))[0] == 401, path


async def test_a_tenant_sees_its_own_quality_and_no_pool(operated: Operated) -> None:
    _, made = await operated.ask("POST", "/admin/keys", {"name": "acme"})
    status, found = await operated.ask("GET", "/ui/api/quality", key=made["key"])
    assert (status, found["answers"], found["judged"], found["choices"]) == (200, 0, 0, [])
    for path in ("/ui/api/pool", "/ui/api/quality/learning"):
        assert (await operated.ask("GET", path, key=made["key"]))[0] == 403


async def test_quality_answers_its_two_questions(operated: Operated) -> None:
    status, found = await operated.ask("GET", "/ui/api/quality?days=90")
    assert status == 200
    assert found["answers"] == 150
    assert found["judged"] == sum(c["judged"] for c in found["choices"]) > 90
    assert {c["model"]: c["verdict"] for c in found["quality"]["changes"]}["odd"] == "worse"
    gain = found["quality"]["gains"][0]
    assert gain["member"] == found["best_single"]["name"] == "strong"
    assert gain["verdict"] in ("adds", "no difference seen", "unknown")
    assert (await operated.ask("GET", "/ui/api/quality?days=3"))[0] == 400
    began = time.monotonic()
    await operated.ask("GET", "/ui/api/quality?days=90")
    assert time.monotonic() - began < 1, "figures are kept for a while"


async def test_a_text_is_checked_and_taken_over_and_a_wrong_one_changes_nothing(operated: Operated) -> None:
    _, shown = await operated.ask("GET", "/ui/api/pool")
    assert SECRET not in json.dumps(shown)
    before = operated.file.read_text()
    text, digest = shown["text"], shown["digest"]
    for bad in (text.replace("0.62", "62"), text + 'path2 = "x"\n', text.replace('"learned/one.toml"', '"/etc/hosts"')):
        _, check = await operated.ask("POST", "/admin/pool/check", {"text": bad})
        assert not check["ok"]
        status, refused = await operated.ask("PUT", "/admin/pool", {"text": bad, "digest": digest})
        assert (status, refused["error"]["code"]) == (422, "pool_refused")
        assert operated.file.read_text() == before
    good = text.replace("prior = 0.62", "prior = 0.63")
    assert (await operated.ask("PUT", "/admin/pool", {"text": good, "digest": digest}))[0] == 200
    assert operated.file.read_text() == before.replace("0.62", "0.63"), "the secret stays"
    _, now = await operated.ask("GET", "/ui/api/pool")
    assert {m["name"]: m["prior"] for m in now["members"]}["fast"] == 0.63
    status, late = await operated.ask("PUT", "/admin/pool", {"text": text, "digest": digest})
    assert (status, "meanwhile" in late["error"]["message"]) == (422, True)


async def test_a_probe_and_a_provider_name_no_address(operated: Operated) -> None:
    _, found = await operated.ask("POST", "/admin/pool/probe", {})
    assert [(p["name"], p["ok"]) for p in found["data"]] == [("fast", True), ("strong", True), ("odd", True)]
    for path, body in (
        ("probe", {"models": ["http://127.0.0.1:1/v1"]}),
        ("probe", {"text": "x"}),
        ("providers/models", {"provider": "http://127.0.0.1:1/v1"}),
        ("providers/models", {"provider": "openai"}),
        ("models", {"text": "", "provider": "../../etc", "models": ["x"]}),
    ):
        status, refused = await operated.ask("POST", f"/admin/pool/{path}", body)
        assert status in (400, 422), refused


@needs_browser
async def test_the_pages_with_the_admin_key(tab: Tab, operated: Operated) -> None:
    source = f"sessionStorage.setItem('routemoa.admin-key', '{KEY}')"
    tab.events.clear()
    script = await tab.send("Page.addScriptToEvaluateOnNewDocument", source=source)
    try:
        await walk_the_pages(tab, operated)
        assert not [str(p) for p in tab.problems(operated.origin)]
    finally:
        await tab.send("Page.removeScriptToEvaluateOnNewDocument", identifier=script["identifier"])
        tab.events.clear()  # other tests look for what their own server said


async def walk_the_pages(tab: Tab, operated: Operated) -> None:
    for name, there in (("quality", ".finding"), ("pool", ".editor")):
        await tab.open(f"{operated.origin}/?{name}#/{name}")
        await tab.wait_until(f"document.querySelector('{there}') !== null", 30)
        await check_whole(tab, name)
    text = await tab.evaluate("document.querySelector('#pool-text').value")
    assert SECRET not in await tab.evaluate("document.documentElement.innerHTML")

    await fill(tab, "#pool-text", text.replace("0.66", "66"))
    await tab.wait_until("document.querySelector('.pool-check.bad')?.textContent.includes('out of range')")
    await fill(tab, "#pool-text", text.replace("0.66", "0.67") + f"# {'a long line ' * 30}")
    await tab.wait_until("document.querySelector('.pool-check.good') !== null")
    assert await tab.evaluate("document.querySelector('.diff .added').textContent.trim()") == "+prior = 0.67"
    for width in (380, 1280):
        await tab.set_size(width)
        assert await tab.evaluate(OVERFLOW) <= 0
    await click(tab, "Take over")
    await tab.wait_until("document.querySelector('.editor [role=status]:not(.pool-check)') !== null")
    assert "prior = 0.67" in operated.file.read_text()
    await click(tab, "Ask each for one token")
    await tab.wait_until("document.querySelectorAll('td .tone.good').length === 3")

    await tab.open(f"{operated.origin}/?q#/quality")
    await tab.wait_until("document.body.innerText.includes('odd got worse')", 30)
    await click(tab, "Undo the last step")
    await tab.wait_until("document.querySelector('.undo .main') !== null")
    await tab.evaluate("document.querySelector('.undo .main').click()")
    await tab.wait_until("document.body.innerText.includes('Nothing so far')")
    assert "[learning]" not in operated.file.read_text()
