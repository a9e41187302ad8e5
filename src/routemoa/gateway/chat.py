"""POST /v1/chat/completions: a mixture's answer, whole or streamed, or a member of the pool passed through."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, Protocol

import msgspec
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from routemoa.client import Forwarded
from routemoa.errors import Refused
from routemoa.events import AggregatorFailed
from routemoa.gateway.connection import Outgoing, read_object, while_connected
from routemoa.gateway.protocol import ChatRequest, parse
from routemoa.gateway.refusal import HttpError, Interrupted, UnknownModel, refusal
from routemoa.gateway.reply import KEEP_ALIVE, Reply, sse
from routemoa.pool import Pool
from routemoa.protocols import Method
from routemoa.types import ModelSpec, Query

__all__ = ["Chat", "Forwarder"]

EVENT_STREAM = "text/event-stream; charset=utf-8"
UNBUFFERED = {"cache-control": "no-cache", "x-accel-buffering": "no"}  # proxies hold streams back otherwise
KEPT_BACK = {401, 403}  # an endpoint refused our operator's key; that is not the caller's 401


class Forwarder(Protocol):
    """Passes requests on to the pool's members; the HTTP client is one."""

    def forward(self, model: ModelSpec, body: Mapping[str, Any]) -> AbstractAsyncContextManager[Forwarded]:
        """The response to a caller's body, to be passed on as it comes; raise ModelError."""
        ...

    async def close(self) -> None:
        """Let go of connections and processes."""
        ...


class Chat:
    """The endpoint, an ASGI application of its own, since it must hear of the caller's leaving while it works."""

    def __init__(
        self, methods: Mapping[str, Method], pool: Pool, client: Forwarder, *, body_limit: int, keep_alive: float
    ) -> None:
        self._methods = methods
        self._pool = pool
        self._client = client
        self._body_limit = body_limit
        self._keep_alive = keep_alive

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        out = Outgoing(send)
        exchange = _Exchange(out)
        try:
            body = await read_object(scope, receive, self._body_limit)
            work = self._answer(body, exchange)
        except ClientDisconnect:
            return
        except HttpError as e:
            await exchange.fail(e)
            return
        await while_connected(receive, work, exchange.beat, self._keep_alive)

    async def _answer(self, body: dict[str, Any], exchange: _Exchange) -> None:
        try:
            name = body.get("model")
            if not isinstance(name, str):
                raise HttpError(400, "You must name a model (GET /v1/models lists them).", param="model")
            if name in self._methods:
                request = parse(body)
                answer = exchange.stream if request.stream else exchange.whole
                await answer(self._methods[name], request)
            elif name in self._pool:
                await exchange.forward(self._client, self._pool[name], body)
            else:
                raise UnknownModel(name, [*self._methods, *(m.name for m in self._pool)])
        except Exception as e:  # every error becomes HTTP here, the unforeseen ones logged as such
            await exchange.fail(e)


class _Exchange:
    """One response, in whichever of the three ways it is given."""

    def __init__(self, out: Outgoing) -> None:
        self._out = out
        self._ours = False  # we write an event stream of our own: comments and error events may go into it

    async def beat(self) -> None:
        """Show that the connection is alive."""
        if self._ours:
            await self._out.write(KEEP_ALIVE)

    async def whole(self, method: Method, request: ChatRequest) -> None:
        """The answer in one piece."""
        reply = Reply(method.name)
        await _run(method, request.query, reply)
        await self._out.json(200, reply.whole())

    async def stream(self, method: Method, request: ChatRequest) -> None:
        """The answer as it is written. The head waits for the first piece, so that early failures have a status."""
        reply = Reply(method.name)
        later = request.include_usage
        async with aclosing(method.stream(request.query)) as events:
            async for event in events:
                if text := reply.add(event):
                    await self._begin_stream(reply.head(later))
                    await self._out.write(reply.piece(text, later))
                elif isinstance(event, AggregatorFailed) and self._out.begun:
                    raise Interrupted(event.failure)
        _check_complete(reply)
        await self._begin_stream(reply.head(later))
        await self._out.write(reply.tail(later), last=True)

    async def forward(self, client: Forwarder, model: ModelSpec, body: Mapping[str, Any]) -> None:
        """A member's own response, byte for byte; what it refuses is passed on too, unless it speaks of our key."""
        try:
            async with client.forward(model, body) as response:
                await self._out.begin(response.status, response.content_type, UNBUFFERED)
                async for chunk in response.chunks:
                    await self._out.write(chunk)
        except Refused as e:
            if self._out.begun or e.status < 400 or e.status in KEPT_BACK or not e.body:
                raise
            await self._pass_on(e)
        else:
            await self._out.write(b"", last=True)

    async def fail(self, error: Exception) -> None:
        """Say that there is no answer, in the form that what was already sent still allows."""
        told = refusal(error)
        if not self._out.begun:
            await self._out.json(told.status, told.body, told.headers)
        elif self._ours:
            await self._out.write(sse(told.body), last=True)
        # Else a response passed on broke off: left unfinished here, the server cuts the connection, as theirs was cut.

    async def _begin_stream(self, head: bytes) -> None:
        if not self._out.begun:
            await self._out.begin(200, EVENT_STREAM, UNBUFFERED)
            self._ours = True
            await self._out.write(head)

    async def _pass_on(self, refused: Refused) -> None:
        wait = {} if refused.retry_after is None else {"retry-after": str(max(1, round(refused.retry_after)))}
        await self._out.begin(refused.status, _kind(refused.body), wait)
        await self._out.write(refused.body, last=True)


async def _run(method: Method, query: Query, reply: Reply) -> None:
    async with aclosing(method.stream(query)) as events:
        async for event in events:
            reply.add(event)
    _check_complete(reply)


def _check_complete(reply: Reply) -> None:
    if not reply.complete:
        raise RuntimeError("the method ended without Done")


def _kind(body: bytes) -> str:
    """The content type of an error body; an error's record keeps only its bytes."""
    try:
        msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return "text/plain; charset=utf-8"
    return "application/json"
