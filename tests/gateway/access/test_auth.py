"""Tenants at the server: keys, budgets, the headers that show them, and the ledger behind them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from routemoa.core.errors import ConfigError
from routemoa.core.pool_file.pool import Pool, parse_pool
from routemoa.gateway import create_app
from routemoa.ledger import Store, read_calls
from routemoa.testing import FakeEndpoint, Fault
from routemoa.testing.scripted import ScriptedClient
from tests.gateway.harness import HI, Serving, serving

KEYS = {"ACME_KEY": "sk-acme", "POOR_KEY": "sk-poor", "FREE_KEY": "sk-free"}
ACME = {"Authorization": "Bearer sk-acme"}
POOR = {"Authorization": "Bearer sk-poor"}
FREE = {"Authorization": "Bearer sk-free"}
TENANTS = """
[[tenant]]
name = "acme"
key_env = "ACME_KEY"
max_cost_per_day = 1.0
max_cost_per_month = 20.0
[[tenant]]
name = "poor"
key_env = "POOR_KEY"
max_cost_per_month = 0.0
[[tenant]]
name = "free"
key_env = "FREE_KEY"
"""
MEMBER = '[[model]]\nname = "{}"\nendpoint = "{}"\ninput_price = {}\noutput_price = {}\nprior = 0.6\n'


def pool(url: str, tenants: str = TENANTS, price: float = 10.0) -> Pool:
    models = "".join(MEMBER.format(name, url, price, price) for name in ("a", "b"))
    return parse_pool(models + tenants, "pool.toml", Path("."), KEYS)


@asynccontextmanager
async def open_to_tenants(url: str, folder: Path, **more: Any) -> AsyncIterator[Serving]:
    served = pool(url, **more)
    async with serving(pool=served, store=Store(folder / "s.db", served.tenants)) as s:
        yield s


async def ask(s: Serving, headers: dict[str, str], model: str = "routemoa", **more: Any) -> Any:
    return await (await s.raw({"model": model, "messages": HI, **more}, headers=headers)).whole()


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer sk-wrong"}, {"Authorization": "Basic sk-acme"}])
async def test_without_a_tenants_key_nothing_is_answered(tmp_path: Path, headers: dict[str, str]) -> None:
    async with FakeEndpoint("x") as e, open_to_tenants(e.url, tmp_path) as s:
        for path in ("/chat/completions", "/models", "/models/a", "/nothing", "/chat/completions/"):
            response = await (await s.raw({"model": "a", "messages": HI}, path, headers)).whole()
            assert response.status == 401
            assert response.error["code"] == "invalid_api_key"
            assert response.headers["www-authenticate"].lower() == "bearer"
            assert b"sk-" not in response.body
        assert not e.requests
        assert await s.sdk.with_options(default_headers={}).get("../healthz", cast_to=object) == {"status": "ok"}


async def test_a_key_may_come_as_anthropics_clients_send_it(tmp_path: Path) -> None:
    """In X-Api-Key; at their API an error has their shape."""
    async with FakeEndpoint("It is 4.") as e, open_to_tenants(e.url, tmp_path) as s:
        body = {"model": "a", "max_tokens": 9, "messages": HI}
        fine = await (await s.raw(body, "/messages", {"x-api-key": "sk-acme"})).whole()
        assert fine.json["content"] == [{"type": "text", "text": "It is 4."}]
        assert 0 < float(fine.headers["x-routemoa-remaining-day"]) < 1.0
        for headers in ({}, {"x-api-key": "sk-wrong"}, {"x-api-key": " "}):
            refused = await (await s.raw(body, "/messages", headers)).whole()
            assert (refused.status, refused.json["type"]) == (401, "error")
            assert refused.error["type"] == "authentication_error"
        used_up = await (await s.raw(body, "/messages", {"x-api-key": "sk-poor"})).whole()
        assert (used_up.status, used_up.error["type"]) == (429, "rate_limit_error")
    calls = list(read_calls(tmp_path / "s.db"))
    assert [(c.model, c.key) for c in calls] == [("a", "acme")]


async def test_the_documents_of_routes_need_no_key(tmp_path: Path) -> None:
    async with FakeEndpoint("x") as e, open_to_tenants(e.url, tmp_path) as s:
        for path in ("openapi.json", "docs"):
            raw = await s.connect(f"GET /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            assert (await raw.whole()).status == 200


async def test_a_large_body_without_a_key_still_gets_a_response(tmp_path: Path) -> None:
    async with FakeEndpoint("x") as e, open_to_tenants(e.url, tmp_path) as s:
        body = {"model": "a", "messages": [{"role": "user", "content": "x" * 3_000_000}]}
        assert (await (await s.raw(body)).whole()).status == 401


async def test_the_official_sdk_with_a_tenants_key(tmp_path: Path) -> None:
    async with FakeEndpoint("It is 4.") as e, open_to_tenants(e.url, tmp_path) as s:
        async with AsyncOpenAI(base_url=s.url, api_key="sk-acme", max_retries=0) as sdk:
            assert [m.id async for m in sdk.models.list()] == ["routemoa", "a", "b"]
            raw = await sdk.chat.completions.with_raw_response.create(model="routemoa", messages=HI)
            assert raw.parse().choices[0].message.content == "It is 4."
            assert 0.99 < float(raw.headers["x-routemoa-remaining-day"]) < 1.0
            assert 19.99 < float(raw.headers["x-routemoa-remaining-month"]) < 20.0
        with pytest.raises(openai.AuthenticationError) as caught:
            await s.sdk.models.list()
        assert caught.value.code == "invalid_api_key"
        sent = [h for h in e.headers if "sk-acme" in str(h)]
        assert not sent, "a tenant's key reaches no endpoint"


@pytest.mark.parametrize("model", ["routemoa", "a"])
@pytest.mark.parametrize("stream", [False, True])
async def test_headers_show_what_is_left_and_until_when(tmp_path: Path, model: str, stream: bool) -> None:
    async with FakeEndpoint("It is 4.") as e, open_to_tenants(e.url, tmp_path) as s:
        first = await ask(s, ACME, model, stream=stream)
        assert first.status == 200
        second = await ask(s, ACME, model, stream=stream)
        day = [float(r.headers["x-routemoa-remaining-day"]) for r in (first, second)]
        assert all(0 < left <= 1.0 for left in day)
        assert stream or day[1] <= day[0], "a stream's head is sent while its calls are reserved, or after that"
        reset = datetime.fromisoformat(first.headers["x-routemoa-reset-day"].upper())
        assert 0 < reset.timestamp() - time.time() <= 86_400
        assert reset.astimezone(UTC).hour == 0
        assert datetime.fromisoformat(first.headers["x-routemoa-reset-month"].upper()).day == 1
        free = await ask(s, FREE, model, stream=stream)
        assert free.status == 200
        assert not [h for h in free.headers if h.startswith("x-routemoa")]


async def test_what_is_left_after_an_answer_is_what_it_cost(tmp_path: Path) -> None:
    async with FakeEndpoint("It is 4.") as e, open_to_tenants(e.url, tmp_path) as s:
        response = await ask(s, ACME)
        cost = response.json["routemoa"]["cost"]
        assert cost > 0
        assert float(response.headers["x-routemoa-remaining-day"]) == pytest.approx(1.0 - cost, abs=1e-9)


@pytest.mark.parametrize("model", ["routemoa", "a"])
async def test_nothing_left_is_a_429_at_once(tmp_path: Path, model: str) -> None:
    async with FakeEndpoint("x") as e, open_to_tenants(e.url, tmp_path) as s:
        response = await ask(s, POOR, model, temperature="not even looked at")
        assert response.status == 429
        assert (response.error["code"], response.error["type"]) == ("insufficient_quota", "insufficient_quota")
        assert response.headers["x-routemoa-reset"].upper() in response.error["message"]
        assert int(response.headers["retry-after"]) > 0
        assert response.headers["x-routemoa-remaining-month"] == "0"
        assert not e.requests


@pytest.mark.parametrize("model", ["routemoa", "a"])
async def test_a_call_that_no_longer_fits_is_a_429_with_the_reset(tmp_path: Path, model: str) -> None:
    async with FakeEndpoint("x") as e, open_to_tenants(e.url, tmp_path, price=100_000.0) as s:
        response = await ask(s, ACME, model, max_tokens=64)
        assert response.status == 429, response.body
        assert response.error["code"] == "insufficient_quota"
        assert datetime.fromisoformat(response.headers["x-routemoa-reset"].upper()).timestamp() > time.time()
        assert not e.requests


async def test_a_budget_is_used_up_and_never_passed(tmp_path: Path) -> None:
    tenants = TENANTS.replace("max_cost_per_day = 1.0", "max_cost_per_day = 0.02")
    async with FakeEndpoint("word " * 20) as e, open_to_tenants(e.url, tmp_path, tenants=tenants) as s:
        statuses = []
        for _ in range(4):
            found = await asyncio.gather(*(ask(s, ACME, "a", max_tokens=64) for _ in range(20)))
            statuses += [r.status for r in found]
        assert set(statuses) == {200, 429}
        await asyncio.sleep(0.05)
        spent = sum(20 * 10e-6 + 1 * 10e-6 for _ in e.requests)
        assert spent <= 0.02
        assert statuses.count(200) == len(e.requests)


async def test_every_call_of_every_request_is_in_the_ledger(tmp_path: Path) -> None:
    async with FakeEndpoint("It is 4.") as e, open_to_tenants(e.url, tmp_path) as s:
        await ask(s, ACME)
        await ask(s, FREE, "a", stream=True)
        received = len(e.requests)
    rows = list(read_calls(tmp_path / "s.db"))
    assert len(rows) == received
    assert {(r.key, r.method) for r in rows} == {("acme", "routemoa"), ("free", "a")}
    assert {r.outcome for r in rows} == {"ok"}


async def test_without_tenants_no_key_is_needed_and_calls_are_recorded_all_the_same(tmp_path: Path) -> None:
    async with FakeEndpoint("It is 4.") as e, open_to_tenants(e.url, tmp_path, tenants="") as s:
        response = await ask(s, {})
        assert response.status == 200
        assert not [h for h in response.headers if h.startswith("x-routemoa")]
    assert {r.key for r in read_calls(tmp_path / "s.db")} == {"-"}


async def test_a_disconnect_leaves_no_call_open(tmp_path: Path) -> None:
    slow = Fault(first_byte=20.0)
    async with FakeEndpoint("x", slow) as e, open_to_tenants(e.url, tmp_path) as s:
        for model in ("routemoa", "a"):
            caller = await s.raw({"model": model, "messages": HI}, headers=ACME)
            while not e.open_requests:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            await caller.leave()
            while e.open_requests:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
    assert {r.outcome for r in read_calls(tmp_path / "s.db")} == {"cut"}


def test_budgets_need_a_store() -> None:
    with pytest.raises(ConfigError, match="kept in the store"):
        create_app({}, pool("http://127.0.0.1:9/v1"), Silent({}))
    create_app({}, pool("http://127.0.0.1:9/v1", '[[tenant]]\nname = "x"\nkey_env = "FREE_KEY"\n'), Silent({}))


class Silent(ScriptedClient):
    """A client that is never called."""

    forward: Any = None
    new_retry: Any = None
    attempt: Any = None
