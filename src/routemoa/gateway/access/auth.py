"""Authentication: tenants by their keys, and the operator at the admin routes."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable
from contextlib import suppress

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from routemoa.core.access.secret_keys import digest_secret
from routemoa.core.access.tenants import Tenant
from routemoa.gateway.access.caller import RATES_SCOPE_KEY, TENANT_SCOPE_KEY
from routemoa.gateway.access.keyring import Keyring
from routemoa.gateway.access.rates import RATE_HEAD, RateKeeper, describe_rates
from routemoa.gateway.errors import HttpError, MissingAdminKey, MissingKey, SlowRequest, UnknownRoute
from routemoa.gateway.failures import error_response
from routemoa.gateway.http_exchange.connection import ResponseWriter, discard_body
from routemoa.gateway.http_exchange.error_shapes import shape_error_at
from routemoa.gateway.http_exchange.request_headers import index_headers

__all__ = ["ADMIN_PATH", "ADMIN_SCOPE_KEY", "AuthMiddleware", "is_admin_path"]

HEALTH_PATH = "/healthz"
"""Needs no key, unless it is asked for the members."""
OPEN_PATHS = {"/", "/openapi.json", "/docs", "/readyz"}
"""Need no key: they name none of this server's models."""
ASSETS_PATH = "/ui/assets/"
"""The files of the page at `/`, which are open, too."""
PAGE_DATA_PATH = "/ui/api/"
"""What that page shows: its routes take a tenant's key, or the admin key, which shows all tenants."""
ADMIN_SCOPE_KEY = "routemoa.admin"
"""True in the scope of such a request with the admin key."""
ADMIN_PATH = "/admin"
"""The routes below need the admin key, and no tenant's key opens them."""
OPERATOR_PATHS = {"/metrics"}
"""Say something about all tenants: they need the admin key where there is one, else a key without restrictions."""
KEY_HEADERS = (b"x-api-key", b"api-key")
"""Beside Authorization: as Anthropic's and Azure's clients send it."""


class AuthMiddleware:
    """An ASGI middleware that lets through only requests with a tenant's key, or all where no key is required.

    Args:
        app: what is protected.
        keyring: knows the tenants.
        rates: hold what tenants have used of their rates.
        admin: the digest of the admin key; None where there are no admin routes.
        body_limit: bytes of a body that are read before a refusal.
    """

    def __init__(self, app: ASGIApp, keyring: Keyring, rates: RateKeeper, admin: bytes | None, body_limit: int) -> None:
        self._app = app
        self._keyring = keyring
        self._rates = rates
        self._admin = admin
        self._body_limit = body_limit

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one connection."""
        if scope["type"] != "http":
            return self._app(scope, receive, send)
        if is_admin_path(scope["path"]) or (self._admin is not None and scope["path"] in OPERATOR_PATHS):
            return self._serve_admin(scope, receive, send)
        if scope["path"].startswith(PAGE_DATA_PATH) and self._is_admin(scope):
            return self._app({**scope, ADMIN_SCOPE_KEY: True}, receive, send)
        if not self._keyring.requires_key or _is_open(scope):
            return self._app(scope, receive, send)
        return self._serve_tenant(scope, receive, send)

    def _serve_tenant(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        key = _find_key(scope)
        tenant = None if key is None else self._keyring.find(key)
        if tenant is None:
            return self._refuse(MissingKey(given=key is not None), scope, receive, send)
        if tenant.is_restricted and scope["path"] in OPERATOR_PATHS:
            return self._refuse(UnknownRoute(404, scope["method"], scope["path"]), scope, receive, send)
        scope = {**scope, TENANT_SCOPE_KEY: tenant}
        if tenant.has_rates:
            scope[RATES_SCOPE_KEY] = self._rates
            send = _add_rate_headers(send, tenant, self._rates)
        return self._app(scope, receive, send)

    def _serve_admin(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve an admin route; where there is no admin key there are no such routes, and the application says so."""
        if self._admin is None or self._is_admin(scope):
            return self._app(scope, receive, send)
        return self._refuse(MissingAdminKey(), scope, receive, send)

    def _is_admin(self, scope: Scope) -> bool:
        key = _find_key(scope)
        return key is not None and self._admin is not None and hmac.compare_digest(digest_secret(key), self._admin)

    async def _refuse(self, error: HttpError, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(ClientDisconnect, SlowRequest):
            await discard_body(receive, self._body_limit)
        with suppress(ClientDisconnect):
            response = error_response(error)
            body = shape_error_at(scope["path"], response)
            headers = {"www-authenticate": "Bearer"} if response.status == 401 else {}
            await ResponseWriter(send).json(response.status, body, headers)


def is_admin_path(path: str) -> bool:
    """Return whether a path is one of the admin routes, or would be if there were such a route."""
    return path == ADMIN_PATH or path.startswith(f"{ADMIN_PATH}/")


def _is_open(scope: Scope) -> bool:
    """Return whether a request needs no key."""
    path = scope["path"]
    return (
        path in OPEN_PATHS
        or path.startswith(ASSETS_PATH)
        or (path == HEALTH_PATH and b"verbose" not in scope["query_string"])
    )


def _find_key(scope: Scope) -> str | None:
    """Return the key of a request: of the header Authorization, else of X-Api-Key, else of Api-Key."""
    headers = index_headers(scope)
    scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return str(token.strip())
    given = (headers.get(name, b"").decode("latin-1").strip() for name in KEY_HEADERS)
    return next((key for key in given if key), None)


def _add_rate_headers(send: Send, tenant: Tenant, rates: RateKeeper) -> Send:
    """Return what sends a response with the tenant's rates in its head; those of a member give way."""

    async def send_with_rates(message: Message) -> None:
        if message["type"] == "http.response.start":
            described = describe_rates(await rates.look(tenant), tenant)
            head = RATE_HEAD.encode()
            kept = [(name, value) for name, value in message.get("headers", ()) if not name.lower().startswith(head)]
            added = [(name.encode(), value.encode()) for name, value in described.items()]
            message = {**message, "headers": [*kept, *added]}
        await send(message)

    return send_with_rates
