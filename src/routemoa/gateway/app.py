"""The routes of the server, and how it ends."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from time import time
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from routemoa.core.errors import ConfigError
from routemoa.core.pool import Pool
from routemoa.core.protocols import Method
from routemoa.gateway.auth import AuthMiddleware
from routemoa.gateway.chat import ChatEndpoint
from routemoa.gateway.errors import HttpError, UnknownModel, error_response
from routemoa.gateway.passthrough import Forwarder
from routemoa.ledger import Store

__all__ = ["create_app"]

BODY_LIMIT = 16 * 2**20
KEEP_ALIVE = 15.0


def create_app(
    methods: Mapping[str, Method],
    pool: Pool,
    client: Forwarder,
    store: Store | None = None,
    *,
    body_limit: int = BODY_LIMIT,
    keep_alive: float = KEEP_ALIVE,
) -> Starlette:
    """An ASGI application that answers as OpenAI's chat API does.

    Args:
        methods: what is served under a name of its own, such as {"routemoa": RouteMoA(pool, client)}.
        pool: its members are passed through under their names; a method of the same name goes first.
        client: passes requests on; closed when the server ends.
        store: where every call is written down and tenants' budgets are kept; closed when the server ends.
        body_limit: bytes a request may have.
        keep_alive: seconds between the comments that keep a quiet stream open.

    Raises:
        ConfigError: the pool file sets budgets, and there is no store to keep them.
    """
    if store is None and (pool.tenants.totals or any(t.limits for t in pool.tenants)):
        raise ConfigError(
            f"{pool.source}: budgets of [[tenant]] and [totals] are kept in the store; do not leave it out"
        )
    models = _Models([*methods, *(m.name for m in pool if m.name not in methods)])
    chat = ChatEndpoint(methods, pool, client, store, body_limit=body_limit, keep_alive=keep_alive)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await client.close()
            if store is not None:
                await store.aclose()

    app = Starlette(
        routes=[
            Route("/healthz", _health),
            Route("/v1/models", models.all),
            Route("/v1/models/{id:path}", models.one),
            Route("/v1/chat/completions", chat, methods=["POST"]),
            Route("/v1/chat/completions/", chat, methods=["POST"]),
        ],
        exception_handlers={HTTPException: _not_routed, HttpError: _told, Exception: _told},
        lifespan=lifespan,
        middleware=[Middleware(AuthMiddleware, tenants=pool.tenants, body_limit=body_limit)],
    )
    app.router.redirect_slashes = False  # a redirected POST loses its body or its key in some clients
    return app


class _Models:
    """GET /v1/models and /v1/models/{id}; an id may contain slashes."""

    def __init__(self, names: list[str]) -> None:
        self._names = names
        self._created = int(time())

    async def all(self, _: Request) -> Response:
        """The list."""
        return _json({"object": "list", "data": [self._model(name) for name in self._names]})

    async def one(self, request: Request) -> Response:
        """One of them."""
        name = request.path_params["id"]
        if not name:  # /v1/models/
            return await self.all(request)
        if name not in self._names:
            raise UnknownModel(name, self._names)
        return _json(self._model(name))

    def _model(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._created, "owned_by": "routemoa"}


async def _health(_: Request) -> Response:
    return _json({"status": "ok"})


async def _not_routed(request: Request, error: Exception) -> Response:
    """No such path, or not with this method."""
    assert isinstance(error, HTTPException)  # noqa: S101  (how it was registered)
    what = "Not allowed here" if error.status_code == 405 else "Unknown request URL"
    message = (
        f"{what}: {request.method} {request.url.path[:200]}. There is GET /v1/models and POST /v1/chat/completions."
    )
    told = error_response(
        HttpError(error.status_code, message, "method_not_allowed" if error.status_code == 405 else None)
    )
    return _json(told.body, told.status, error.headers)


async def _told(_: Request, error: Exception) -> Response:
    told = error_response(error)
    return _json(told.body, told.status, told.headers)


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, headers, "application/json")
