"""Lists are fetched over a real socket: pages, keys, refusals, servers that are not there or misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any

import pytest
from aiohttp import web
from msgspec.structs import replace

from routemoa.clients.model_lists import fetch
from routemoa.clients.model_lists.fetch import ListFailed, ListProblem, classify_refusal, fetch_model_list
from routemoa.core.catalog.providers import ListFormat, Provider

TODAY = date(2026, 11, 26)
KEY = "sk-secret-123456"
PROVIDER = Provider("Acme", "http://127.0.0.1", "acme", keys=("ACME_KEY",), list=ListFormat(next="links.next"))
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def ask(handler: Handler, provider: Provider = PROVIDER, key: str | None = KEY) -> fetch.ModelList:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        return await fetch_model_list(provider, f"http://127.0.0.1:{runner.addresses[0][1]}/api/v1", key, TODAY)
    finally:
        await runner.cleanup()


def reply(body: Any, status: int = 200) -> Handler:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status)

    return handler


async def test_pages_are_followed_on_the_same_host_only() -> None:
    seen: list[str] = []

    async def pages(request: web.Request) -> web.StreamResponse:
        seen.append(request.path_qs)
        assert request.headers["Authorization"] == f"Bearer {KEY}"
        if "offset" not in request.query:
            return web.json_response({"data": [{"id": "a"}], "links": {"next": "/api/v1/models?offset=1"}})
        return web.json_response({"data": [{"id": "b"}], "links": {"next": "http://127.0.0.2:9/steal"}})

    found = await ask(pages)
    assert [m.id for m in found.models] == ["a", "b"]
    assert seen == ["/api/v1/models", "/api/v1/models?offset=1"]


async def test_endless_pages_end() -> None:
    async def same(_: web.Request) -> web.StreamResponse:
        return web.json_response({"data": [{"id": "a"}], "links": {"next": "/api/v1/models"}})

    assert len((await ask(same)).models) == 1


async def test_paths_may_lead_out_of_the_base_url() -> None:
    seen: list[tuple[str, str | None]] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append((request.path, request.headers.get("x-key")))
        return web.json_response({"data": {"remaining": -0.5}} if request.path == "/api/v1/key" else [{"id": "a"}])

    form = ListFormat("../public/models", key_header="x-key", check="/key", remaining="data.remaining")
    found = await ask(handler, replace(PROVIDER, list=form))
    assert seen == [("/api/v1/key", None), ("/api/public/models", KEY)]
    assert found.no_balance


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (401, {"error": {"message": "no auth"}}, ListProblem.KEY),
        (403, {"message": "forbidden"}, ListProblem.KEY),
        (400, [{"error": {"message": "API key not valid. Please pass a valid API key."}}], ListProblem.KEY),
        (400, {"error": "Incorrect API key provided: xx"}, ListProblem.KEY),
        (402, {"error": {"message": "Insufficient Balance"}}, ListProblem.BALANCE),
        (429, {"error": {"message": "You exceeded your current quota, please check your plan"}}, ListProblem.BALANCE),
        (400, {"error": {"message": "Your credit balance is too low to access the API"}}, ListProblem.BALANCE),
        (429, {"error": {"message": "Rate limit reached"}}, ListProblem.OTHER),
        (500, "oops", ListProblem.OTHER),
        (301, "moved", ListProblem.OTHER),
    ],
)
async def test_refusals(status: int, body: Any, problem: ListProblem) -> None:
    with pytest.raises(ListFailed) as caught:
        await ask(reply(body, status))
    assert caught.value.problem == problem
    assert f"HTTP {status}" in caught.value.reason


async def test_a_key_that_is_reflected_stays_secret() -> None:
    with pytest.raises(ListFailed) as caught:
        await ask(reply({"error": {"message": f"bad key {KEY}\x1b[31m\nagain"}}, 401))
    assert KEY not in caught.value.reason
    assert caught.value.reason == "HTTP 401: bad key [key] again"
    assert caught.value.__context__ is None, "the library's own error would hold the headers"


@pytest.mark.parametrize("body", ["<html>", {"hello": 1}])
async def test_what_is_no_list(body: Any) -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(text=body) if isinstance(body, str) else web.json_response(body)

    with pytest.raises(ListFailed) as caught:
        await ask(handler)
    assert caught.value.problem == ListProblem.OTHER


async def test_a_list_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "MAX_BYTES", 100_000)

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 10_000)

    with pytest.raises(ListFailed, match="sent more than"):
        await asyncio.wait_for(ask(endless), 10)


async def test_silence_and_absence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "REMOTE_TIMEOUT", 0.3)

    async def silent(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(5)
        raise AssertionError

    with pytest.raises(ListFailed, match=r"did not answer within 0\.3 s") as caught:
        await ask(silent)
    assert caught.value.problem == ListProblem.UNREACHABLE
    with pytest.raises(ListFailed, match=r"127\.0\.0\.1:9 cannot be reached: Connection refused") as caught:
        await fetch_model_list(PROVIDER, "http://127.0.0.1:9/v1", None, TODAY)
    assert caught.value.problem == ListProblem.UNREACHABLE


def test_words_about_keys_in_other_errors_are_not_about_the_key() -> None:
    assert classify_refusal(400, "the key 'max_tokens' is not valid") == ListProblem.OTHER
    assert classify_refusal(404, "model not found") == ListProblem.OTHER
