"""The server's ASGI application: its routes, its error handlers, and what it closes at its end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import asynccontextmanager
from time import time
from typing import Any

from msgspec.structs import replace
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from routemoa import __version__
from routemoa.clients.endpoints.memory import MemberMemory, memory_of
from routemoa.clients.http import HttpClient
from routemoa.core.errors import RouteMoAError
from routemoa.core.pool_file.pool import Pool
from routemoa.core.protocols import Method
from routemoa.core.tables.server_table import ServerSettings
from routemoa.gateway.access.auth import AuthMiddleware
from routemoa.gateway.access.caller import Caller
from routemoa.gateway.admin import admin_routes
from routemoa.gateway.api import Api, ChatApi, MemberApi
from routemoa.gateway.batches.endpoints import batch_routes
from routemoa.gateway.chat import ChatEndpoint
from routemoa.gateway.errors import HttpError, UnknownModel, UnknownRoute
from routemoa.gateway.failures import error_response
from routemoa.gateway.guards.origins import HostMiddleware, cors_middleware
from routemoa.gateway.guards.paths import PathMiddleware
from routemoa.gateway.guards.request_ids import REQUEST_ID, REQUEST_ID_KEY, RequestIdMiddleware
from routemoa.gateway.http_exchange.direct_routes import DirectRoutes
from routemoa.gateway.http_exchange.error_shapes import shape_error_at
from routemoa.gateway.http_exchange.json_response import json_response
from routemoa.gateway.members.forwarder import Forwarder
from routemoa.gateway.members.member_routes import COMPLETIONS, EMBEDDINGS
from routemoa.gateway.messages_api import MessagesApi
from routemoa.gateway.messages_api.count_endpoint import CountEndpoint
from routemoa.gateway.openapi import build_document, render_page
from routemoa.gateway.openapi.page import PAGE_HEADERS
from routemoa.gateway.responses_api import ResponsesApi
from routemoa.gateway.server_state import ServerState
from routemoa.gateway.telemetry.health import HealthEndpoints
from routemoa.gateway.telemetry.metrics import MetricsEndpoint, StateCollector
from routemoa.gateway.telemetry.request_log import RequestLogMiddleware
from routemoa.gateway.telemetry.tracing import RequestTracer
from routemoa.gateway.traces.endpoints import TraceEndpoints
from routemoa.gateway.ui import Site, ui_routes
from routemoa.ledger import Store
from routemoa.ledger.trace_store.traces import TraceStore

__all__ = ["build_app", "create_app"]

KEEP_ALIVE_SECONDS = 10.0
"""Of silence, after which the head of a stream is sent, and then a comment each time."""

APIS: dict[str, Api] = {
    "/v1/chat/completions": ChatApi(),
    "/v1/responses": ResponsesApi(),
    "/v1/messages": MessagesApi(),
    "/v1/completions": MemberApi(COMPLETIONS, "text completions"),
    "/v1/embeddings": MemberApi(EMBEDDINGS, "embeddings"),
}
"""Path -> the API that is spoken there."""


def create_app(
    methods: Mapping[str, Method],
    pool: Pool,
    client: Forwarder,
    store: Store | None = None,
    *,
    body_limit: int | None = None,
    keep_alive: float = KEEP_ALIVE_SECONDS,
    loopback: bool = False,
    tracer: RequestTracer | None = None,
    admin_key: bytes | None = None,
    traces: TraceStore | None = None,
) -> Starlette:
    """Return an ASGI application that speaks OpenAI's chat and Responses APIs and Anthropic's Messages API.

    Args:
        methods: what answers under a name of its own, such as {"routemoa": RouteMoA(pool, client)}.
        pool: its models are passed through under their names; a method of the same name goes first.
        client: passes requests on; closed when the application ends.
        store: records every call, holds keys and the budgets of tenants; closed when the application ends.
        body_limit: bytes of a request; by default as `[server]` of the pool file has it.
        keep_alive: seconds between the comments that keep a quiet stream open.
        loopback: the server listens on this machine alone: web pages of its programs may use it, and a request that
            names another server is refused.
        tracer: makes OpenTelemetry's spans of requests.
        admin_key: the digest of the key of the admin routes (`read_admin_key`); None has no such routes. With one,
            every other request needs a tenant's key.
        traces: keeps the traces of answers; closed when the application ends.

    Raises:
        ConfigError: the pool file sets budgets, and there is no store to hold them; or the store cannot be read; or
            ROUTEMOA_SHARED, through which servers share budgets and rates, is no URL of a Redis.
        MissingExtra: the library for it is not installed.
    """
    state = ServerState(pool, store, traces, tracer, admin_key)
    app = build_app(methods, pool, client, state, body_limit=body_limit, keep_alive=keep_alive, loopback=loopback)
    app.router.lifespan_context = lambda _: _run_beside(state, client)
    return app


def build_app(
    methods: Mapping[str, Method],
    pool: Pool,
    client: Forwarder,
    state: ServerState,
    *,
    body_limit: int | None = None,
    keep_alive: float = KEEP_ALIVE_SECONDS,
    loopback: bool = False,
) -> Starlette:
    """Return the application of one reading of a pool file; its parts that go on are in `state`. See `create_app`."""
    settings = pool.server if body_limit is None else replace(pool.server, max_body_bytes=body_limit)
    store, traces = state.store, state.traces
    state.metrics.add_names([*methods, *(m.name for m in pool.with_votes())])
    state.metrics.drift.set_models(pool)
    shared: dict[str, Any] = {"state": state, "settings": settings, "keep_alive": keep_alive}
    apis = {**APIS, "/v1/responses": ResponsesApi(stores=traces is not None and traces.settings.texts)}
    endpoints: dict[str, ASGIApp] = {
        path: ChatEndpoint(methods, pool, client, api=api, **shared) for path, api in apis.items()
    }
    endpoints["/v1/messages/count_tokens"] = CountEndpoint(methods, pool.models, settings)
    endpoints |= {f"{path}/": endpoint for path, endpoint in endpoints.items()}
    memory = memory_of(client) or MemberMemory()
    site = Site(pool, methods, memory, state, settings, loopback)
    app = Starlette(
        routes=[
            *_watch_routes(pool, memory, state),
            *_list_routes(methods, pool),
            *_trace_routes(state, settings),
            *(() if state.batches is None else batch_routes(state.batches, settings)),
            *(admin_routes(store.path, state, settings) if store is not None and state.admin_key is not None else ()),
            *ui_routes(site),
            *(Route(path, endpoint, methods=["POST"]) for path, endpoint in endpoints.items()),
        ],
        exception_handlers=EXCEPTION_HANDLERS,
        middleware=_list_middleware(state, settings, endpoints, loopback=loopback),
    )
    if state.batches is not None and isinstance(client, HttpClient):
        state.batches.use(pool, client)
    if state.news is not None:
        state.news.follow(pool, memory, methods)
    app.router.redirect_slashes = False  # a redirected POST loses its body or its key in some clients
    return app


def _watch_routes(pool: Pool, memory: MemberMemory, state: ServerState) -> list[Route]:
    """Return the routes of the probes and of the metrics."""
    sharing: dict[str, Any] = {"rates": state.rates, "budgets": state.budgets}
    health = HealthEndpoints(pool, memory, state.keyring, state.store, state.metrics.drift, **sharing)
    now = StateCollector(pool, memory, state.gate, state.keyring, state.store, **sharing)
    return [
        Route("/healthz", health.get_health),
        Route("/readyz", health.get_readiness),
        Route("/metrics", MetricsEndpoint(state.metrics, now, state.states).get),
    ]


def _list_routes(methods: Collection[str], pool: Pool) -> list[Route]:
    """Return the routes that say what can be asked, and how."""
    models = _ModelList(methods, pool)
    return [
        Route("/v1/models", models.get_all),
        Route("/v1/models/{id:path}", models.get_one),
        Route("/openapi.json", _Documents.get_document),
        Route("/docs", _Documents.get_page),
    ]


def _trace_routes(state: ServerState, settings: ServerSettings) -> list[Route]:
    """Return the routes of traces, and of feedback on answers."""
    kept = TraceEndpoints(state.kept, settings)
    return [
        Route("/v1/traces/{id}", kept.get_trace),
        Route("/v1/feedback", kept.post_feedback, methods=["POST"]),
    ]


def _list_middleware(
    state: ServerState, settings: ServerSettings, endpoints: Mapping[str, ASGIApp], *, loopback: bool
) -> list[Middleware]:
    """Return what each request passes through, the outermost first."""
    checks_hosts = loopback or settings.allow_hosts
    return [
        Middleware(RequestIdMiddleware),
        Middleware(RequestLogMiddleware),
        Middleware(PathMiddleware),
        *([Middleware(HostMiddleware, allowed=settings.allow_hosts)] if checks_hosts else []),
        *cors_middleware(settings, loopback=loopback),
        Middleware(
            AuthMiddleware,
            keyring=state.keyring,
            rates=state.rates,
            admin=state.admin_key,
            body_limit=settings.max_body_bytes,
        ),
        Middleware(DirectRoutes, endpoints=endpoints),
    ]


@asynccontextmanager
async def _run_beside(state: ServerState, client: Forwarder) -> AsyncGenerator[None, None]:
    """Watch the load and the keys while the application runs; close what it used at its end."""
    async with state.running():
        try:
            yield
        finally:
            await client.close()


class _ModelList:
    """GET /v1/models and /v1/models/{id}: what the caller may name; an id may contain slashes."""

    def __init__(self, methods: Collection[str], pool: Pool) -> None:
        self._methods, self._pool = methods, pool
        self._created = int(time())

    async def get_all(self, request: Request) -> Response:
        """Return the list."""
        return json_response({"object": "list", "data": [self._describe(name) for name in self._names(request)]})

    async def get_one(self, request: Request) -> Response:
        """Return one entry. Raises UnknownModel."""
        name = request.path_params["id"]
        if not name:  # /v1/models/
            return await self.get_all(request)
        if name not in (names := self._names(request)):
            raise UnknownModel(name, names)
        return json_response(self._describe(name))

    def _names(self, request: Request) -> list[str]:
        return Caller(request.scope).list_names(self._methods, self._pool)

    def _describe(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._created, "owned_by": "routemoa"}


class _Documents:
    """GET /openapi.json and /docs: the routes, for programs and for people."""

    @staticmethod
    async def get_document(_: Request) -> Response:
        """Return the OpenAPI document."""
        return json_response(build_document(__version__))

    @staticmethod
    async def get_page(_: Request) -> Response:
        """Return a page of it, which loads nothing."""
        return Response(render_page(build_document(__version__)), 200, PAGE_HEADERS, "text/html")


async def _handle_unknown_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  (as it is registered)
    response = error_response(UnknownRoute(error.status_code, request.method, request.url.path))
    return json_response(shape_error_at(request.url.path, response), response.status, error.headers)


async def _handle_error(request: Request, error: Exception) -> Response:
    response = error_response(error)
    headers = dict(response.headers)
    if (request_id := request.scope.get(REQUEST_ID_KEY)) is not None:  # a defect is answered outside of the middleware
        headers[REQUEST_ID] = request_id
    return json_response(shape_error_at(request.url.path, response), response.status, headers)


async def _drop(_: Request, __: Exception) -> Response:
    """Return a response that nothing reads: the caller disconnected while its body came in."""
    return json_response({}, 400)


EXCEPTION_HANDLERS: dict[Any, Any] = {
    HTTPException: _handle_unknown_route,
    HttpError: _handle_error,
    RouteMoAError: _handle_error,
    ClientDisconnect: _drop,
    Exception: _handle_error,  # a defect: after its response Starlette raises it again, which ends the connection
}
"""Of the routes that are Starlette's own."""
