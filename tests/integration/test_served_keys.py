"""Keys with real processes: a server, the command that changes its keys, the official SDK, and what the log says."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from routemoa.testing import FakeEndpoint, Fault
from tests.cli.test_keys import keys
from tests.gateway.harness import HI
from tests.gateway.lifecycle.test_server import serve, write_pool


async def is_let_in(url: str, key: str) -> bool:
    async with AsyncOpenAI(base_url=url, api_key=key, max_retries=0) as sdk:
        try:
            await sdk.models.list()
        except openai.AuthenticationError:
            return False
        return True


async def until_let_in(url: str, key: str, *, wanted: bool) -> float:
    began = time.monotonic()
    async with asyncio.timeout(10):
        while await is_let_in(url, key) != wanted:  # noqa: ASYNC110  (there is no event to wait for)
            await asyncio.sleep(0.05)
    return time.monotonic() - began


@pytest.mark.alone
async def test_a_server_follows_the_command_without_a_restart(tmp_path: Path) -> None:
    store = tmp_path / "s.db"
    first = (await asyncio.to_thread(keys, store, "create", "first")).stdout.strip()
    async with FakeEndpoint("four") as e, serve(write_pool(tmp_path, e.url), "--store", str(store)) as s:
        assert not await is_let_in(s.url, "unused")
        assert await is_let_in(s.url, first)
        made = await asyncio.to_thread(keys, store, "create", "app", "--methods", "routemoa", "--json")
        app = json.loads(made.stdout)["key"]
        assert await until_let_in(s.url, app, wanted=True) < 2.0
        async with AsyncOpenAI(base_url=s.url, api_key=app, max_retries=0) as sdk:
            assert [m.id async for m in sdk.models.list()] == ["routemoa"]
            done = await sdk.chat.completions.create(model="routemoa", messages=HI)
            assert done.choices[0].message.content == "four"
            with pytest.raises(openai.NotFoundError, match="does not exist"):
                await sdk.chat.completions.create(model="a", messages=HI)
        rotated = (await asyncio.to_thread(keys, store, "rotate", "app", "--grace", "1h")).stdout.strip()
        assert await until_let_in(s.url, rotated, wanted=True) < 2.0
        assert await is_let_in(s.url, app)
        await asyncio.to_thread(keys, store, "revoke", "app")
        assert await until_let_in(s.url, rotated, wanted=False) < 2.0
        assert await is_let_in(s.url, first)
        s.process.terminate()
        assert await s.end() == (0, "")


async def test_admin_routes_of_a_server_with_a_key_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROUTEMOA_ADMIN_KEY", "operator-1")
    async with FakeEndpoint("four") as e, serve(write_pool(tmp_path, e.url), "--store", str(tmp_path / "s.db")) as s:
        admin = AsyncOpenAI(base_url=s.url.removesuffix("/v1"), api_key="operator-1", max_retries=0)
        made: Any = await admin.post("/admin/keys", cast_to=object, body={"name": "app"})
        assert await is_let_in(s.url, made["key"])
        listed: Any = await admin.get("/admin/keys", cast_to=object)
        assert [k["name"] for k in listed["data"]] == ["app"]
        with pytest.raises(openai.ConflictError, match="another name"):
            await admin.post("/admin/keys", cast_to=object, body={"name": "app"})
        await admin.post("/admin/keys/app/revoke", cast_to=object)
        assert not await is_let_in(s.url, made["key"])
        await admin.close()


@pytest.mark.parametrize("options", [[], ["--log-format", "json"]], ids=["text", "json"])
@pytest.mark.parametrize("redact", [True, False], ids=["redacted", "plain"])
async def test_a_redacted_log_has_no_word_of_an_endpoint(tmp_path: Path, options: list[str], redact: bool) -> None:
    def refuse(body: dict[str, Any]) -> Fault:
        return Fault(status=403, message=f"flagged: {body['messages'][-1]['content'][:40]}")

    async with FakeEndpoint(refuse) as e:
        pool = write_pool(tmp_path, e.url)
        pool.write_text(pool.read_text() + f"[gateway]\nredact = {str(redact).lower()}\n")
        async with serve(pool, "--store", str(tmp_path / "s.db"), "-v", *options) as s:
            for _ in range(6):
                for model in ("routemoa", "a"):
                    with pytest.raises(openai.APIStatusError):
                        await s.sdk.chat.completions.create(
                            model=model, messages=[{"role": "user", "content": "PROMPTMARK"}]
                        )
            s.process.terminate()
            code, log = await s.end()
    assert code == 0
    assert "HTTP 403" in log
    assert ("PROMPTMARK" in log) is not redact
