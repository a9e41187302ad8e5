"""Authentication of tenants by their keys, and what a caller has left of its budget."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from routemoa.core.errors import BudgetExceeded
from routemoa.core.protocols import CallRecorder
from routemoa.core.tenants import Span, Tenants, format_time
from routemoa.gateway.connection import ResponseWriter, discard_body
from routemoa.gateway.errors import MissingKey, SlowRequest
from routemoa.gateway.failures import error_response
from routemoa.ledger import Store, StoreError

__all__ = ["AuthMiddleware", "Caller"]

TENANT_SCOPE_KEY = "routemoa.tenant"
"""Where the scope of a request names its tenant."""
OPEN_PATH = "/healthz"
"""Needs no key, unless it is asked for the members."""


class AuthMiddleware:
    """An ASGI middleware that lets through only requests with a tenant's key, or all where there are no tenants."""

    def __init__(self, app: ASGIApp, tenants: Tenants, body_limit: int) -> None:
        self._app = app
        self._tenants = tenants
        self._body_limit = body_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or not self._tenants.members or _is_open(scope):
            await self._app(scope, receive, send)
            return
        token = _bearer_token(scope)
        tenant = None if token is None else self._tenants.find(token)
        if tenant is not None:
            await self._app({**scope, TENANT_SCOPE_KEY: tenant.name}, receive, send)
            return
        with suppress(ClientDisconnect, SlowRequest):
            await discard_body(receive, self._body_limit)
        with suppress(ClientDisconnect):
            response = error_response(MissingKey(given=token is not None))
            await ResponseWriter(send).json(response.status, response.body, {"www-authenticate": "Bearer"})


class Caller:
    """The sender of one request: its tenant, its budget and the recorder of its calls.

    Args:
        scope: of the request.
        store: holds budgets and records calls; None does neither.
    """

    def __init__(self, scope: Scope, store: Store | None) -> None:
        self.name: str | None = scope.get(TENANT_SCOPE_KEY)
        """The tenant's name; None where there are no tenants."""
        self._store = store

    def new_recorder(self, method: str) -> CallRecorder | None:
        """Return the recorder for the calls of the request."""
        return None if self._store is None else self._store.recorder(self.name, method)

    def find_budget_error(self) -> BudgetExceeded | None:
        """Return the error where the budget is used up, so that no call can be made; None where something is left."""
        if self._find_ended() and self._store is not None:
            self._store.reload_budget(self.name)  # a correction may have freed some of it
        if ended := self._find_ended():
            reset, span = max(ended)
            return BudgetExceeded(f"nothing is left for this {span}", reset=reset)
        return None

    def _find_ended(self) -> list[tuple[float, Span]]:
        """Return the spans whose budget is used up, each after the time when it starts again."""
        left = None if self._store is None else self._store.remaining_budget(self.name)
        if left is None:
            return []
        return [(reset, span) for span, dollars, reset in left.spans if dollars is not None and dollars <= 0.0]

    def get_budget_headers(self) -> Mapping[str, str]:
        """Return the response headers that say what is left at this moment; none where there is no budget."""
        left = None if self._store is None else self._store.remaining_budget(self.name)
        if left is None:
            return {}
        headers: dict[str, str] = {}
        for span, dollars, reset in left.spans:
            if dollars is not None:
                headers[f"x-routemoa-remaining-{span}"] = f"{dollars:.9f}".rstrip("0").rstrip(".")
                headers[f"x-routemoa-reset-{span}"] = format_time(reset)
        return headers

    async def wait_until_settled(self) -> None:
        """Wait until the calls that have ended are counted in the budget."""
        if self._store is not None and self._store.remaining_budget(self.name) is not None:
            with suppress(StoreError):  # the answer is complete without it
                await self._store.flush()


def _is_open(scope: Scope) -> bool:
    """Return whether a request needs no key."""
    return scope["path"] == OPEN_PATH and b"verbose" not in scope["query_string"]


def _bearer_token(scope: Scope) -> str | None:
    """Return the token of the Authorization header."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, token = value.decode("latin-1").partition(" ")
            if scheme.lower() == "bearer" and token.strip():
                return str(token.strip())
    return None
