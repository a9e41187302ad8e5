"""Answers a request of any API: a method's answer, whole or streamed, or a model of the pool passed through."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from time import monotonic

from msgspec.structs import replace
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from routemoa.core.errors import BudgetExceeded, QueryError
from routemoa.core.pool_file.pool import Pool
from routemoa.core.protocols import Method
from routemoa.core.tables.server_table import ServerSettings
from routemoa.core.types import Limits, Query, StreamMode
from routemoa.gateway.access.caller import Caller
from routemoa.gateway.api import Api, ChatApi
from routemoa.gateway.api_response import ApiResponse
from routemoa.gateway.chat_api.bounds import check_bounded_fields, check_bounded_messages
from routemoa.gateway.chat_api.request_limits import LIMITS_FIELD, parse_preference, parse_request_limits
from routemoa.gateway.chat_api.requests import ChatRequest
from routemoa.gateway.errors import HttpError, Overloaded, UnknownModel
from routemoa.gateway.guards.request_ids import REQUEST_ID
from routemoa.gateway.http_exchange.connection import (
    ReceivedRequest,
    ResponseWriter,
    discard_body,
    read_sized_object,
)
from routemoa.gateway.http_exchange.disconnects import run_while_connected
from routemoa.gateway.http_exchange.request_headers import index_headers
from routemoa.gateway.members.forwarder import Forwarder
from routemoa.gateway.members.passthrough import PassThrough
from routemoa.gateway.server_state import ServerState
from routemoa.gateway.telemetry.request_meter import RequestMeter
from routemoa.mixture.baselines import Single
from routemoa.mixture.method import check_preference

__all__ = ["ChatEndpoint"]

MIN_WAIT_SHARE = 0.01
"""Of `max_seconds`: a request that waited for less before its work began keeps its whole time."""


class ChatEndpoint:
    """The endpoint, as an ASGI application, which can notice a disconnect while it works (a Starlette route cannot).

    Args:
        methods: what answers under a name of its own.
        pool: the models to pass through, and the default limits.
        client: passes requests on.
        state: of the server: its ledger, its load, what it counts and keeps.
        settings: the limit and the deadline of a body.
        keep_alive: seconds between the comments that keep a quiet stream open.
        api: what requests and responses look like; OpenAI's chat completions by default.
    """

    def __init__(
        self,
        methods: Mapping[str, Method],
        pool: Pool,
        client: Forwarder,
        *,
        state: ServerState,
        settings: ServerSettings,
        keep_alive: float,
        api: Api = ChatApi(),  # noqa: B008  (it holds nothing)
    ) -> None:
        self._methods = methods
        self._pool = pool
        self._client = client
        self._state = state
        self._settings = settings
        self._keep_alive = keep_alive
        self._fingerprint = pool.fingerprint
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        arrived = monotonic()
        caller = Caller(scope, self._state.store)
        writer = ResponseWriter(send, caller.get_budget_headers)
        live = self._state.board.add(caller.name, writer)
        meter = RequestMeter(scope, self._state.metrics, self._state.tracer, live)
        response = ApiResponse(writer, self._api, self._state, self._fingerprint, meter)
        try:
            await self._serve(scope, receive, caller, response, arrived)
        finally:
            meter.end(writer.status, writer.first_piece if response.is_stream else None, caller.name)

    async def _serve(
        self, scope: Scope, receive: Receive, caller: Caller, response: ApiResponse, arrived: float
    ) -> None:
        try:
            received = await self._read_request(scope, receive, caller, arrived)
            await caller.reserve_rates(received.body)
        except ClientDisconnect:
            return
        except (HttpError, BudgetExceeded) as e:
            await response.send_error(e)
            return
        try:
            work = self._answer_in_turn(received, caller, response)
            await run_while_connected(receive, work, response.send_keep_alive, self._keep_alive)
        finally:
            await caller.settle_rates()

    async def _read_request(self, scope: Scope, receive: Receive, caller: Caller, arrived: float) -> ReceivedRequest:
        """Read the body, unless nothing is left of the caller's budget or rates.

        Raises:
            HttpError: there is no such body, or the caller has to wait.
            BudgetExceeded: the budget is used up.
            ClientDisconnect: the caller disconnected.
        """
        limit, seconds = self._settings.max_body_bytes, self._settings.body_seconds
        if (error := caller.find_budget_error() or await caller.find_rate_error()) is not None:
            await discard_body(receive, limit)
            raise error
        body, size = await read_sized_object(scope, receive, limit, seconds)
        has_id = REQUEST_ID.encode() in index_headers(scope)
        return ReceivedRequest(body, size, scope["headers"], has_id, arrived)

    async def _answer_in_turn(self, received: ReceivedRequest, caller: Caller, response: ApiResponse) -> None:
        """Answer a request once it has its turn, or refuse it where that would take too long."""
        gate = self._state.gate
        try:
            began = await gate.enter()
        except Overloaded as e:
            await response.send_error(e)
            return
        try:
            await self._answer(received, caller, response)
        finally:
            gate.leave(began)

    async def _answer(self, received: ReceivedRequest, caller: Caller, response: ApiResponse) -> None:
        """Answer a request, with an error response where that fails."""
        body = received.body
        try:
            name = body.get("model")
            if not isinstance(name, str):
                raise HttpError(400, "You must name a model (GET /v1/models lists them).", param="model")
            response.meter.name_model(name)
            preference = parse_preference(field := body.pop(LIMITS_FIELD, None))
            limits = self._subtract_wait(parse_request_limits(field, received.headers), received.arrived)
            if not caller.may_use(name, is_method=name in self._methods):
                raise UnknownModel(name, caller.list_names(self._methods, self._pool))
            if (method := self._find_method(name)) is not None:
                passes = self._pool.gateway.unknown_parameters == "pass"
                whole, earlier = await self._state.history.recall(body, caller.name)
                request = await received.work(partial(self._api.read, whole, pass_unknown=passes, earlier=earlier))
                query = replace(self._with_limits(request.chat, limits), prefer=preference)
                self._check_cost(query, caller)
                query = await self._state.conversations.attach(query, method.name, caller.name)
                send = response.send_stream if request.chat.stream else response.send_whole
                await send(method, query, request, caller)
            elif name in self._pool and (route := self._api.route) is not None:
                check_preference(preference, name)
                limits = limits.with_defaults(self._pool.limits)
                recorder = caller.new_recorder(name)
                new = partial(PassThrough, self._client, self._pool[name], body, limits, recorder)
                new = partial(new, route=route, has_own_id=received.has_id, meter=response.meter)
                await response.pass_through(await received.work(new))
            else:
                raise UnknownModel(name, caller.list_names(self._methods, self._pool))
        except Exception as e:  # `error_response` maps each; it logs those that are not expected
            await response.send_error(e)

    def _subtract_wait(self, limits: Limits, arrived: float) -> Limits:
        """Return the limits less the time that the request has waited: `max_seconds` starts with its arrival."""
        limit, waited = limits.with_defaults(self._pool.limits).max_seconds, monotonic() - arrived
        if limit is None or waited < MIN_WAIT_SHARE * limit:
            return limits
        return replace(limits, max_seconds=max(0.001, round(limit - waited, 3)))

    def _find_method(self, name: str) -> Method | None:
        """Return what answers under a name; None where that is a member whose response is passed through, or nothing.

        A member that is not passed through is a method that asks it once.
        """
        if name in self._methods or name not in self._pool or self._api.route is not None:
            return self._methods.get(name)
        return Single(self._pool[name], self._client, name, limits=self._pool.limits)

    def _check_cost(self, query: Query, caller: Caller) -> None:
        """Check that no field of a request with a limit in dollars or tokens buys something without an upper bound.

        Raises:
            QueryError: one does; `param` names it.
        """
        limits = query.limits.with_defaults(self._pool.limits)
        if limits.max_cost is not None or limits.max_output_tokens is not None or caller.has_budget:
            check_bounded_fields(query.parameters)
            check_bounded_messages([m.body for m in query.messages])

    def _with_limits(self, request: ChatRequest, limits: Limits) -> Query:
        """Return the query with its limits; the methods add the pool file's, except for the stream mode.

        A response in one piece shows no text early. So its method may replace every answer until the end, as for
        a reader of events. Events are no stream of another API than chat's.
        """
        mode: StreamMode = "events"
        if request.stream:
            mode = limits.with_defaults(self._pool.limits).stream_mode or "final"
            if mode == "events" and self._api.route is None:
                if limits.stream_mode is not None:
                    raise QueryError("the stream mode 'events' is of POST /v1/chat/completions alone", "stream_mode")
                mode = "final"
        return replace(request.query, limits=replace(limits, stream_mode=mode))
