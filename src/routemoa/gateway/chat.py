"""POST /v1/chat/completions: a mixture's answer, whole or streamed, or a member of the pool passed through."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import aclosing
from time import monotonic
from typing import Any

from msgspec.structs import replace
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from routemoa.core.errors import BudgetExceeded
from routemoa.core.pool import Pool
from routemoa.core.protocols import Method
from routemoa.core.types import Limits, StreamMode
from routemoa.gateway.auth import Caller
from routemoa.gateway.connection import ResponseWriter, discard_body, read_json_object, run_while_connected
from routemoa.gateway.errors import HttpError, UnknownModel, error_response
from routemoa.gateway.limits import LIMITS_FIELD, parse_request_limits
from routemoa.gateway.passthrough import UNBUFFERED, Forwarder, PassThrough
from routemoa.gateway.requests import ChatRequest, parse_chat_request
from routemoa.gateway.responses import ChatCompletion
from routemoa.gateway.sse import KEEP_ALIVE_COMMENT, ChunkEncoder, EventEncoder, StreamEncoder, encode_sse
from routemoa.ledger import Store

__all__ = ["ChatEndpoint"]

EVENT_STREAM = "text/event-stream; charset=utf-8"
WORTH_COUNTING = 0.01  # of a request's time: what it waited before anybody worked on it
Headers = Iterable[tuple[bytes, bytes]]


class ChatEndpoint:
    """The endpoint, an ASGI application of its own, since it must hear of the caller's leaving while it works."""

    def __init__(
        self,
        methods: Mapping[str, Method],
        pool: Pool,
        client: Forwarder,
        store: Store | None,
        *,
        body_limit: int,
        keep_alive: float,
    ) -> None:
        self._methods = methods
        self._pool = pool
        self._client = client
        self._store = store
        self._body_limit = body_limit
        self._keep_alive = keep_alive

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        arrived = monotonic()
        caller = Caller(scope, self._store)
        exchange = _Exchange(ResponseWriter(send, caller.budget_headers))
        try:
            if (used_up := caller.exhausted_budget()) is not None:
                await discard_body(receive, self._body_limit)
                raise used_up
            body = await read_json_object(scope, receive, self._body_limit)
            work = self._answer(body, scope["headers"], arrived, caller, exchange)
        except ClientDisconnect:
            return
        except (HttpError, BudgetExceeded) as e:
            await exchange.fail(e)
            return
        await run_while_connected(receive, work, exchange.beat, self._keep_alive)

    async def _answer(
        self, body: dict[str, Any], headers: Headers, arrived: float, caller: Caller, exchange: _Exchange
    ) -> None:
        try:
            name = body.get("model")
            if not isinstance(name, str):
                raise HttpError(400, "You must name a model (GET /v1/models lists them).", param="model")
            contract = self._in_time(parse_request_limits(body.pop(LIMITS_FIELD, None), headers), arrived)
            if name in self._methods:
                request = self._under(contract, parse_chat_request(body))
                answer = exchange.stream if request.stream else exchange.whole
                await answer(self._methods[name], request, caller)
            elif name in self._pool:
                contract = contract.with_defaults(self._pool.limits)
                await exchange.forward(
                    PassThrough(self._client, self._pool[name], body, contract, caller.new_recorder(name))
                )
            else:
                raise UnknownModel(name, [*self._methods, *(m.name for m in self._pool)])
        except Exception as e:  # every error becomes HTTP here, the unforeseen ones logged as such
            await exchange.fail(e)

    def _in_time(self, contract: Limits, arrived: float) -> Limits:
        """A contract whose time has begun when the request came, should it have had to wait since then."""
        limit, waited = contract.with_defaults(self._pool.limits).max_seconds, monotonic() - arrived
        if limit is None or waited < WORTH_COUNTING * limit:
            return contract
        return replace(contract, max_seconds=max(0.001, round(limit - waited, 3)))

    def _under(self, contract: Limits, request: ChatRequest) -> ChatRequest:
        """A request with its contract; the methods lay the pool file's under it, but for how the answer is shown."""
        mode: StreamMode = "final"
        if request.stream:
            mode = contract.with_defaults(self._pool.limits).stream_mode or "leader"
        return replace(request, query=replace(request.query, limits=replace(contract, stream_mode=mode)))


class _Exchange:
    """One response, in whichever of the three ways it is given."""

    def __init__(self, out: ResponseWriter) -> None:
        self._out = out
        self._ours = False  # we write an event stream of our own: comments and error events may go into it
        self._typed = False  # ... in which every event has a name

    async def beat(self) -> None:
        """Show that the connection is alive."""
        if self._ours:
            await self._out.write(KEEP_ALIVE_COMMENT)

    async def whole(self, method: Method, request: ChatRequest, caller: Caller) -> None:
        """The answer in one piece."""
        reply = ChatCompletion(method.name)
        async with aclosing(method.stream(request.query, caller.new_recorder(method.name))) as events:
            async for event in events:
                reply.add(event)
        _check_complete(reply)
        await caller.wait_until_settled()
        await self._out.json(200, reply.to_completion())

    async def stream(self, method: Method, request: ChatRequest, caller: Caller) -> None:
        """The answer as it is written. The head waits for the first piece, so that early failures have a status."""
        reply = ChatCompletion(method.name, request.query.limits.stream_mode or "final")
        self._typed = reply.mode == "events"
        shown: StreamEncoder = (
            EventEncoder(reply) if self._typed else ChunkEncoder(reply, usage_later=request.include_usage)
        )
        async with aclosing(method.stream(request.query, caller.new_recorder(method.name))) as events:
            async for event in events:
                if data := shown.take(event):
                    await self._begin_stream()
                    await self._out.write(data)
        _check_complete(reply)
        await self._begin_stream()
        await self._out.write(shown.encode_end(), last=True)

    async def forward(self, direct: PassThrough) -> None:
        """A member's own response."""
        await direct.send(self._out)

    async def fail(self, error: Exception) -> None:
        """Say that there is no answer, in the form that what was already sent still allows."""
        told = error_response(error)
        if not self._out.started:
            await self._out.json(told.status, told.body, told.headers)
        elif self._ours:
            await self._out.write((b"event: error\n" if self._typed else b"") + encode_sse(told.body), last=True)
        # Else a response passed on broke off: left unfinished here, the server cuts the connection, as theirs was cut.

    async def _begin_stream(self) -> None:
        if not self._out.started:
            await self._out.start(200, EVENT_STREAM, UNBUFFERED)
            self._ours = True


def _check_complete(reply: ChatCompletion) -> None:
    if not reply.is_complete:
        raise RuntimeError("the method ended without Done")
