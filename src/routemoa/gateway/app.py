"""The server's ASGI application: its routes, its error handlers, and what it closes at its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from time import time
from typing import Any

import msgspec
from msgspec.structs import replace
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from routemoa.clients.memory import MemberMemory, memory_of
from routemoa.core.errors import ConfigError
from routemoa.core.pool import Pool
from routemoa.core.protocols import Method
from routemoa.core.types import ModelSpec
from routemoa.gateway.auth import AuthMiddleware
from routemoa.gateway.chat import ChatEndpoint
from routemoa.gateway.errors import HttpError, UnknownModel, UnknownRoute
from routemoa.gateway.failures import error_response
from routemoa.gateway.guards.load import LoadGate
from routemoa.gateway.guards.origins import HostMiddleware, cors_middleware
from routemoa.gateway.passthrough import Forwarder
from routemoa.ledger import Store

__all__ = ["create_app"]

KEEP_ALIVE_SECONDS = 10.0
"""Of silence, after which the head of a stream is sent, and then a comment each time."""


def create_app(
    methods: Mapping[str, Method],
    pool: Pool,
    client: Forwarder,
    store: Store | None = None,
    *,
    body_limit: int | None = None,
    keep_alive: float = KEEP_ALIVE_SECONDS,
    loopback: bool = False,
) -> Starlette:
    """Return an ASGI application that speaks OpenAI's chat API.

    Args:
        methods: what answers under a name of its own, such as {"routemoa": RouteMoA(pool, client)}.
        pool: its models are passed through under their names; a method of the same name goes first.
        client: passes requests on; closed when the application ends.
        store: records every call and holds the budgets of tenants; closed when the application ends.
        body_limit: bytes of a request; by default as `[server]` of the pool file has it.
        keep_alive: seconds between the comments that keep a quiet stream open.
        loopback: the server listens on this machine alone: web pages of its programs may use it, and a request that
            names another server is refused.

    Raises:
        ConfigError: the pool file sets budgets, and there is no store to hold them.
    """
    if store is None and (pool.tenants.totals or any(t.limits for t in pool.tenants)):
        raise ConfigError(
            f"{pool.source}: budgets of [[tenant]] and [totals] are kept in the store; do not serve without one"
        )

    settings = pool.server if body_limit is None else replace(pool.server, max_body_bytes=body_limit)
    gate = LoadGate(settings.queue_seconds)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None, None]:
        watching = asyncio.create_task(gate.watch())
        try:
            yield
        finally:
            watching.cancel()
            await client.close()
            if store is not None:
                await store.aclose()

    models = _ModelList([*methods, *(m.name for m in pool if m.name not in methods)])
    chat = ChatEndpoint(methods, pool, client, store, gate=gate, settings=settings, keep_alive=keep_alive)
    checks_hosts = loopback or settings.allow_hosts
    app = Starlette(
        routes=[
            Route("/healthz", _Health(pool, client).get),
            Route("/v1/models", models.get_all),
            Route("/v1/models/{id:path}", models.get_one),
            Route("/v1/chat/completions", chat, methods=["POST"]),
            Route("/v1/chat/completions/", chat, methods=["POST"]),
        ],
        exception_handlers={HTTPException: _handle_unknown_route, HttpError: _handle_error, Exception: _handle_error},
        lifespan=lifespan,
        middleware=[
            *([Middleware(HostMiddleware, allowed=settings.allow_hosts)] if checks_hosts else []),
            *cors_middleware(settings, loopback=loopback),
            Middleware(AuthMiddleware, tenants=pool.tenants, body_limit=settings.max_body_bytes),
        ],
    )
    app.router.redirect_slashes = False  # a redirected POST loses its body or its key in some clients
    return app


class _ModelList:
    """GET /v1/models and /v1/models/{id}; an id may contain slashes."""

    def __init__(self, names: list[str]) -> None:
        self._names = names
        self._created = int(time())

    async def get_all(self, _: Request) -> Response:
        """Return the list."""
        return _json_response({"object": "list", "data": [self._describe(name) for name in self._names]})

    async def get_one(self, request: Request) -> Response:
        """Return one entry. Raises UnknownModel."""
        name = request.path_params["id"]
        if not name:  # /v1/models/
            return await self.get_all(request)
        if name not in self._names:
            raise UnknownModel(name, self._names)
        return _json_response(self._describe(name))

    def _describe(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._created, "owned_by": "routemoa"}


class _Health:
    """GET /healthz; with `?verbose` also how well each member's endpoint is."""

    def __init__(self, pool: Pool, client: Forwarder) -> None:
        self._pool = pool
        self._memory = memory_of(client) or MemberMemory()

    async def get(self, request: Request) -> Response:
        """Return the state of the server."""
        if request.query_params.get("verbose", "0").lower() in ("0", "false", "no"):
            return _json_response({"status": "ok"})
        return _json_response({"status": "ok", "members": {m.name: self._describe(m) for m in self._pool}})

    def _describe(self, model: ModelSpec) -> dict[str, Any]:
        learned = self._memory.dialect(model)
        dialect = {"omit": sorted(learned.omit), "rename": dict(sorted(learned.rename.items()))}
        return {**self._memory.health(model).to_plain(), "learned": dialect}


async def _handle_unknown_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  (as it is registered)
    response = error_response(UnknownRoute(error.status_code, request.method, request.url.path))
    return _json_response(response.body, response.status, error.headers)


async def _handle_error(_: Request, error: Exception) -> Response:
    response = error_response(error)
    return _json_response(response.body, response.status, response.headers)


def _json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, headers, "application/json")
