"""POST /v1/chat/completions: a method's answer, whole or streamed, or a model of the pool passed through."""

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
from routemoa.core.server_table import ServerSettings
from routemoa.core.types import Limits, StreamMode
from routemoa.gateway.auth import Caller
from routemoa.gateway.connection import ResponseWriter, discard_body, read_json_object, run_while_connected
from routemoa.gateway.errors import HttpError, Overloaded, UnknownModel
from routemoa.gateway.failures import error_response
from routemoa.gateway.guards.load import LoadGate
from routemoa.gateway.passthrough import UNBUFFERED, Forwarder, PassThrough
from routemoa.gateway.request_limits import LIMITS_FIELD, parse_request_limits
from routemoa.gateway.requests import ChatRequest, parse_chat_request
from routemoa.gateway.responses import ChatCompletion
from routemoa.gateway.sse import KEEP_ALIVE_COMMENT, ChunkEncoder, EventEncoder, StreamEncoder, encode_sse
from routemoa.ledger import Store

__all__ = ["ChatEndpoint"]

EVENT_STREAM = "text/event-stream; charset=utf-8"
MIN_WAIT_SHARE = 0.01
"""Of `max_seconds`: a request that waited for less before its work began keeps its whole time."""

Headers = Iterable[tuple[bytes, bytes]]


class ChatEndpoint:
    """The endpoint, as an ASGI application, which can notice a disconnect while it works (a Starlette route cannot).

    Args:
        methods: what answers under a name of its own.
        pool: the models to pass through, and the default limits.
        client: passes requests on.
        store: records calls and holds budgets, if there is one.
        gate: admits requests while the server keeps up.
        settings: the limit and the deadline of a body.
        keep_alive: seconds between the comments that keep a quiet stream open.
    """

    def __init__(
        self,
        methods: Mapping[str, Method],
        pool: Pool,
        client: Forwarder,
        store: Store | None,
        *,
        gate: LoadGate,
        settings: ServerSettings,
        keep_alive: float,
    ) -> None:
        self._methods = methods
        self._pool = pool
        self._client = client
        self._store = store
        self._gate = gate
        self._settings = settings
        self._keep_alive = keep_alive

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        arrived = monotonic()
        caller = Caller(scope, self._store)
        response = _ChatResponse(ResponseWriter(send, caller.get_budget_headers))
        try:
            body = await self._read_body(scope, receive, caller)
        except ClientDisconnect:
            return
        except (HttpError, BudgetExceeded) as e:
            await response.send_error(e)
            return
        work = self._answer_in_turn(body, scope["headers"], arrived, caller, response)
        await run_while_connected(receive, work, response.send_keep_alive, self._keep_alive)

    async def _read_body(self, scope: Scope, receive: Receive, caller: Caller) -> dict[str, Any]:
        """Read the body, unless the caller's budget is used up. Raises HttpError, BudgetExceeded, ClientDisconnect."""
        if (error := caller.find_budget_error()) is not None:
            await discard_body(receive, self._settings.max_body_bytes)
            raise error
        return await read_json_object(scope, receive, self._settings.max_body_bytes, self._settings.body_seconds)

    async def _answer_in_turn(
        self, body: dict[str, Any], headers: Headers, arrived: float, caller: Caller, response: _ChatResponse
    ) -> None:
        """Answer a request once it has its turn, or refuse it where that would take too long."""
        try:
            async with self._gate.place():
                await self._answer(body, headers, arrived, caller, response)
        except Overloaded as e:
            await response.send_error(e)

    async def _answer(
        self, body: dict[str, Any], headers: Headers, arrived: float, caller: Caller, response: _ChatResponse
    ) -> None:
        """Answer a request, with an error response where that fails."""
        try:
            name = body.get("model")
            if not isinstance(name, str):
                raise HttpError(400, "You must name a model (GET /v1/models lists them).", param="model")
            limits = self._subtract_wait(parse_request_limits(body.pop(LIMITS_FIELD, None), headers), arrived)
            if name in self._methods:
                request = self._with_limits(parse_chat_request(body), limits)
                send = response.send_stream if request.stream else response.send_whole
                await send(self._methods[name], request, caller)
            elif name in self._pool:
                limits = limits.with_defaults(self._pool.limits)
                recorder = caller.new_recorder(name)
                await response.pass_through(PassThrough(self._client, self._pool[name], body, limits, recorder))
            else:
                raise UnknownModel(name, [*self._methods, *(m.name for m in self._pool)])
        except Exception as e:  # `error_response` maps each; it logs those that are not expected
            await response.send_error(e)

    def _subtract_wait(self, limits: Limits, arrived: float) -> Limits:
        """Return the limits less the time that the request has waited: `max_seconds` starts with its arrival."""
        limit, waited = limits.with_defaults(self._pool.limits).max_seconds, monotonic() - arrived
        if limit is None or waited < MIN_WAIT_SHARE * limit:
            return limits
        return replace(limits, max_seconds=max(0.001, round(limit - waited, 3)))

    def _with_limits(self, request: ChatRequest, limits: Limits) -> ChatRequest:
        """Return the request with its limits; the methods add the pool file's, except for the stream mode.

        A response in one piece shows no text early. So its method may replace every answer until the end, as for
        a reader of events.
        """
        mode: StreamMode = "events"
        if request.stream:
            mode = limits.with_defaults(self._pool.limits).stream_mode or "final"
        return replace(request, query=replace(request.query, limits=replace(limits, stream_mode=mode)))


class _ChatResponse:
    """The response to one request: whole, streamed, passed through, or an error."""

    def __init__(self, writer: ResponseWriter) -> None:
        self._writer = writer
        self._has_started_stream = False
        """Whether we sent the head of a stream."""
        self._names_events = False
        """Whether its events have names."""
        self._wants_stream = False
        """Whether the request asks a method for a stream."""
        self._passed_through: PassThrough | None = None

    async def send_keep_alive(self) -> None:
        """Show that the connection is alive; a stream that has been silent so long begins with its head.

        From then on an error is the stream's last event and has no status of its own. A response in one piece keeps its
        status honest and stays silent.
        """
        passed = self._passed_through
        if self._wants_stream or (passed is not None and passed.is_silent_stream):
            await self._start_stream()
        if self._is_own_stream:
            await self._writer.write(KEEP_ALIVE_COMMENT)

    async def send_whole(self, method: Method, request: ChatRequest, caller: Caller) -> None:
        """Send a method's answer in one piece."""
        completion = ChatCompletion(method.name)
        async with aclosing(method.stream(request.query, caller.new_recorder(method.name))) as events:
            async for event in events:
                completion.add(event)
        _check_complete(completion)
        await caller.wait_until_settled()
        await self._writer.json(200, completion.to_completion())

    async def send_stream(self, method: Method, request: ChatRequest, caller: Caller) -> None:
        """Send a method's answer as it is written.

        The status waits for the first piece, or for the first comment, so that an early failure still gets its own.
        """
        completion = ChatCompletion(method.name, request.query.limits.stream_mode or "final")
        encoder = self._choose_encoder(completion, request)
        self._wants_stream = True
        async with aclosing(method.stream(request.query, caller.new_recorder(method.name))) as events:
            async for event in events:
                if data := encoder.encode_event(event):
                    await self._start_stream()
                    await self._writer.write(data)
        _check_complete(completion)
        await self._start_stream()
        await self._writer.write(encoder.encode_end(), last=True)

    async def pass_through(self, request: PassThrough) -> None:
        """Send the response of a model of the pool."""
        self._passed_through = request
        await request.send(self._writer)

    async def send_error(self, error: Exception) -> None:
        """Send an error as a response, or as the last event of a stream that has started."""
        response = error_response(error)
        if not self._writer.started:
            await self._writer.json(response.status, response.body, response.headers)
        elif self._is_own_stream:
            name = b"event: error\n" if self._names_events else b""
            await self._writer.write(name + encode_sse(response.body), last=True)
        # Else a passed-through response broke off: left unfinished, it makes the server close the connection, as the
        # endpoint closed its own.

    @property
    def _is_own_stream(self) -> bool:
        """Return whether our comments and error events may go into the stream: it holds nothing of a member's."""
        passed = self._passed_through
        return self._has_started_stream and (passed is None or passed.is_silent_stream)

    def _choose_encoder(self, completion: ChatCompletion, request: ChatRequest) -> StreamEncoder:
        self._names_events = completion.mode == "events"
        if self._names_events:
            return EventEncoder(completion)
        return ChunkEncoder(completion, include_usage=request.include_usage)

    async def _start_stream(self) -> None:
        if not self._writer.started:
            await self._writer.start(200, EVENT_STREAM, UNBUFFERED)
            self._has_started_stream = True


def _check_complete(completion: ChatCompletion) -> None:
    if not completion.is_complete:
        raise RuntimeError("the method ended without Done")
