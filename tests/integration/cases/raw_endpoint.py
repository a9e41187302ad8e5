"""An endpoint that sends what a test says, byte for byte, and a server in front of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from msgspec import Struct

from routemoa.clients.protocol.sse import SSEParser
from routemoa.core.access.tenants import Tenants
from routemoa.core.pool_file.pool import Pool
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.types import Limits, ModelSpec
from routemoa.ledger import LedgerEntry, Store, read_calls
from routemoa.mixture.method_registry import METHODS
from tests.gateway.harness import Response, Serving, serving, until

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
EVENT_STREAM = "text/event-stream"


class Raw(Struct, frozen=True):
    """A response."""

    body: str | bytes | Sequence[str | bytes | float]
    """In pieces, each sent by itself; a number is a pause in seconds."""
    content_type: str = EVENT_STREAM
    status: int = 200
    headers: Mapping[str, str] = {}


Reply = Callable[[dict[str, Any]], Raw]


def delta(message: Mapping[str, Any], finish: Any = None, **more: Any) -> dict[str, Any]:
    """Return a chunk of a stream."""
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": message, "finish_reason": finish}],
        **more,
    }


def sse(*events: Any) -> str:
    """Return events as a stream; a text stands as it is."""
    return "".join(f"data: {e if isinstance(e, str) else json.dumps(e)}\n\n" for e in events)


def say(text: str | None, finish: Any = "stop", usage: Any = None, size: int | None = None, **message: Any) -> Reply:
    """Return a reply that answers, streamed in pieces of `size` characters or whole, as it was asked for."""
    figures = USAGE if usage is None else usage

    def reply(body: dict[str, Any]) -> Raw:
        if not body.get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
            return Raw(
                json.dumps({"object": "chat.completion", "choices": [choice], "usage": figures}), "application/json"
            )
        step = size or max(1, len(text or ""))
        pieces = [delta({"content": (text or "")[i : i + step]}) for i in range(0, len(text or ""), step)]
        extra = [delta(message)] if message else []
        end = [delta({}, finish), {"choices": [], "usage": figures}]
        return Raw([sse(e) for e in (delta({"role": "assistant", "content": ""}), *extra, *pieces, *end, "[DONE]")])

    return reply


def send(
    body: str | bytes | Sequence[str | bytes | float], content_type: str = EVENT_STREAM, status: int = 200
) -> Reply:
    """Return a reply that is always the same."""
    return lambda _: Raw(body, content_type, status)


class RawEndpoint:
    """A running endpoint."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.requests: list[dict[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        body = await request.json()
        self.requests.append(body)
        self.headers.append(dict(request.headers))
        raw = self.reply(body)
        headers = {**raw.headers, **({"Content-Type": raw.content_type} if raw.content_type else {})}
        response = web.StreamResponse(status=raw.status, headers=headers)
        await response.prepare(request)
        for piece in [raw.body] if isinstance(raw.body, str | bytes) else raw.body:
            if isinstance(piece, float):
                await asyncio.sleep(piece)
            else:
                await response.write(piece.encode() if isinstance(piece, str) else piece)
        return response


@asynccontextmanager
async def running(reply: Reply) -> AsyncIterator[RawEndpoint]:
    """Run an endpoint."""
    endpoint = RawEndpoint(reply)
    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_post("/v1/chat/completions", endpoint.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    endpoint.url = f"http://{host}:{port}/v1"
    try:
        yield endpoint
    finally:
        await runner.cleanup()


class Setting:
    """A server before some endpoints, and its ledger."""

    def __init__(self, served: Serving, endpoints: Sequence[RawEndpoint], path: Path) -> None:
        self.served, self.endpoints, self.path = served, endpoints, path

    async def ask(self, model: str = "routemoa", text: str = "What is the capital of France?", **more: Any) -> Response:
        """Send a question and return the response."""
        headers = more.pop("headers", None)
        body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
        response: Response = await (await self.served.raw(body, headers=headers)).whole()
        return response

    async def calls(self) -> list[LedgerEntry]:
        """Return the calls in the ledger, once all have ended."""
        await until(lambda: all(c.outcome != "open" for c in read_calls(self.path)))
        return list(read_calls(self.path))


@asynccontextmanager
async def setting(
    folder: Path,
    *replies: Reply,
    attempts: int = 1,
    tenants: Tenants | None = None,
    limits: Limits | None = None,
    **spec: Any,
) -> AsyncIterator[Setting]:
    """Run a server over endpoints; their models are called a, b, ..., the best first."""
    async with AsyncExitStack() as stack:
        endpoints = [await stack.enter_async_context(running(reply)) for reply in replies]
        models = tuple(
            ModelSpec(name, e.url, prior=prior, **{"model": "up", **spec})
            for name, prior, e in zip("abc", (0.9, 0.8, 0.7), endpoints, strict=False)
        )
        pool = Pool(models, Mixture(), limits=limits or Limits(), tenants=Tenants() if tenants is None else tenants)
        path = folder / "store.db"
        store = Store(path, tenants)
        served = serving(pool=pool, attempts=attempts, store=store, names=METHODS)
        yield Setting(await stack.enter_async_context(served), endpoints, path)


def text_of(response: Response) -> str:
    """Return the answer's text, of a stream as a client that does not know ours reads it."""
    if b'"object":"chat.completion"' in response.body or b'"object": "chat.completion",' in response.body:
        content = response.json["choices"][0]["message"]["content"]
        return "" if content is None else str(content)
    chunks = [e.data for e in SSEParser().feed(response.body) if e.data.startswith("{")]
    deltas = [c.get("delta") or {} for chunk in chunks for c in json.loads(chunk).get("choices") or []]
    return "".join(d.get("content") or "" for d in deltas)


def endings_of(response: Response) -> list[str]:
    """Return every finish reason in a response."""
    bodies = [response.json] if response.body[:1] == b"{" else [e for e in response.events if isinstance(e, dict)]
    return [c["finish_reason"] for b in bodies for c in b.get("choices") or [] if c.get("finish_reason")]
