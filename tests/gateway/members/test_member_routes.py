"""Embeddings and text completions: passed through for members, metered and recorded, refused for mixtures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from aiohttp import web

from routemoa.core.errors import QueryError
from routemoa.core.pool_file.pool import Pool, parse_pool
from routemoa.gateway.members.member_routes import COMPLETIONS, EMBEDDINGS
from routemoa.ledger import Store, read_calls
from tests.gateway.harness import serving

TENANTS = '[[tenant]]\nname = "acme"\nkey_env = "ACME_KEY"\nmax_cost_per_day = 1.0\n'
ACME = {"Authorization": "Bearer sk-acme"}
MODEL = """
[[model]]
name = "{name}"
model = "real-{name}"
endpoint = "{url}"
input_price = 10.0
output_price = 20.0
prior = 0.6
system = "Be brief."
parameters = {{temperature = 0.1}}
"""
VECTOR = [0.5, -0.5]


class Upstream:
    """An endpoint that has embeddings and text completions."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.url = ""
        self.error: int | None = None

    async def embeddings(self, request: web.Request) -> web.Response:
        body = await self._read(request)
        if self.error is not None:
            return web.json_response({"error": {"message": "no such thing"}}, status=self.error)
        inputs = body["input"] if isinstance(body["input"], list) else [body["input"]]
        data = [{"object": "embedding", "index": i, "embedding": VECTOR} for i, _ in enumerate(inputs)]
        usage = {"prompt_tokens": 8, "total_tokens": 8}
        return web.json_response({"object": "list", "model": body["model"], "data": data, "usage": usage})

    async def completions(self, request: web.Request) -> web.StreamResponse:
        body = await self._read(request)
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        head = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": body["model"]}
        if not body.get("stream"):
            choice = {"index": 0, "text": "It is 4.", "finish_reason": "stop", "logprobs": None}
            return web.json_response({**head, "choices": [choice], "usage": usage})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for text, reason in (("It is", None), (" 4.", "stop")):
            choice = {"index": 0, "text": text, "finish_reason": reason, "logprobs": None}
            await response.write(b"data: " + web.json_response({**head, "choices": [choice]}).body + b"\n\n")  # type: ignore[operator]
        if (body.get("stream_options") or {}).get("include_usage"):
            await response.write(
                b"data: " + web.json_response({**head, "choices": [], "usage": usage}).body + b"\n\n"  # type: ignore[operator]
            )
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _read(self, request: web.Request) -> dict[str, Any]:
        body: dict[str, Any] = await request.json()
        self.requests.append((request.path, body))
        return body


@asynccontextmanager
async def upstream() -> AsyncIterator[Upstream]:
    found = Upstream()
    app = web.Application()
    app.router.add_post("/v1/embeddings", found.embeddings)
    app.router.add_post("/v1/completions", found.completions)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    found.url = f"http://{host}:{port}/v1"
    try:
        yield found
    finally:
        await runner.cleanup()


def pool(url: str, tenants: str = "") -> Pool:
    models = "".join(MODEL.format(name=name, url=url) for name in ("a", "b"))
    return parse_pool(models + tenants, "pool.toml", Path("."), {"ACME_KEY": "sk-acme"})


async def test_embeddings_are_passed_through() -> None:
    """With the member's name, and none of the settings that are for chats."""
    async with upstream() as up, serving(pool=pool(up.url)) as s:
        found = await s.sdk.embeddings.create(model="a", input=["x", "y"], encoding_format="float")
        assert [d.embedding for d in found.data] == [VECTOR, VECTOR]
        assert up.requests == [("/v1/embeddings", {"model": "real-a", "input": ["x", "y"], "encoding_format": "float"})]


async def test_embeddings_of_a_member_at_several_endpoints_spread_and_move_on() -> None:
    async with upstream() as one, upstream() as two:
        urls = f'["{one.url}", "{two.url}"]'
        several = MODEL.format(name="a", url="x").replace('endpoint = "x"', f"endpoints = {urls}")
        async with serving(pool=parse_pool(several, "pool.toml", Path("."), {})) as s:
            calls = [s.sdk.embeddings.create(model="a", input="x", encoding_format="float") for _ in range(8)]
            await asyncio.gather(*calls)
            assert min(len(up.requests) for up in (one, two)) >= 2
            one.error = 503
            for _ in range(4):
                await s.sdk.embeddings.create(model="a", input="x", encoding_format="float")


@pytest.mark.parametrize("stream", [False, True])
async def test_completions_are_passed_through(stream: bool) -> None:
    async with upstream() as up, serving(pool=pool(up.url)) as s:
        reply: Any = await s.sdk.completions.create(model="a", prompt="2 + 2?", max_tokens=9, stream=stream)
        texts = [c.choices[0].text async for c in reply] if stream else [reply.choices[0].text]
        assert "".join(texts) == "It is 4."
        (path, body), *_ = up.requests
        assert (path, body["model"], body["prompt"], body["max_tokens"]) == ("/v1/completions", "real-a", "2 + 2?", 9)
        assert "messages" not in body
        assert "temperature" not in body


@pytest.mark.parametrize(
    ("path", "body", "cost"),
    [
        ("/embeddings", {"input": "x"}, 8 * 10e-6),
        ("/completions", {"prompt": "x", "max_tokens": 9}, 3 * 10e-6 + 2 * 20e-6),
        ("/completions", {"prompt": "x", "max_tokens": 9, "stream": True}, 3 * 10e-6 + 2 * 20e-6),
    ],
    ids=["embeddings", "whole", "stream"],
)
async def test_they_are_metered_and_recorded(tmp_path: Path, path: str, body: dict[str, Any], cost: float) -> None:
    async with upstream() as up:
        with_tenants = pool(up.url, TENANTS)
        async with serving(pool=with_tenants, store=Store(tmp_path / "s.db", with_tenants.tenants)) as s:
            response = await (await s.raw({"model": "a", **body}, path, ACME)).whole()
            assert response.status == 200, response.body
            assert b'"usage"' not in response.body or not body.get("stream")
            assert "max_tokens" not in up.requests[0][1] or path == "/completions"
        (call,) = read_calls(tmp_path / "s.db")
        assert (call.model, call.key) == ("a", "acme")
        assert call.cost == pytest.approx(cost)


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/embeddings", {"input": "x", "wings": 2}, "wings"),
        ("/completions", {"prompt": ["x", "y"]}, "prompt"),
        ("/completions", {"prompt": "x", "n": 2}, "n"),
        ("/completions", {"prompt": "x", "best_of": 2}, "best_of"),
    ],
)
async def test_what_has_no_bound_is_refused_under_a_limit(path: str, body: dict[str, Any], param: str) -> None:
    async with upstream() as up, serving(pool=pool(up.url)) as s:
        free = await (await s.raw({"model": "a", **body}, path)).whole()
        assert free.status == 200
        limited = await (await s.raw({"model": "a", **body, "routemoa": {"max_cost": 1.0}}, path)).whole()
        assert (limited.status, limited.error["param"]) == (400, param)
        assert len(up.requests) == 1


def test_tokens_of_one_prompt_are_one_prompt() -> None:
    COMPLETIONS.check({"model": "a", "prompt": [1, 2, 3]})
    COMPLETIONS.check({"model": "a", "prompt": ["x"]})
    EMBEDDINGS.check({"model": "a", "input": ["x", "y"]})
    with pytest.raises(QueryError):
        COMPLETIONS.check({"model": "a", "prompt": [[1], [2]]})


@pytest.mark.parametrize(("path", "what"), [("/embeddings", "embeddings"), ("/completions", "text completions")])
async def test_a_mixture_there_is_an_error(path: str, what: str) -> None:
    async with upstream() as up, serving(pool=pool(up.url)) as s:
        response = await (await s.raw({"model": "routemoa", "input": "x", "prompt": "x"}, path)).whole()
        assert (response.status, response.error["param"]) == (400, "model")
        assert f"a mixture has no {what}" in response.error["message"]
        assert (await (await s.raw({"model": "none"}, path)).whole()).status == 404
        assert not up.requests


async def test_an_endpoint_without_them_says_so() -> None:
    async with upstream() as up, serving(pool=pool(up.url)) as s:
        up.error = 404
        for _ in range(2):  # which says nothing of its chats: it is not left alone
            with pytest.raises(openai.NotFoundError, match="no such thing"):
                await s.sdk.embeddings.create(model="a", input="x")
