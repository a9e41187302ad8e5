"""Who asks: a tenant by the key it shows, or anybody where the pool file names none; and what it has left."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from routemoa.core.errors import BudgetExceeded
from routemoa.core.protocols import CallRecorder
from routemoa.core.tenants import Tenants, format_time
from routemoa.gateway.connection import ResponseWriter, discard_body
from routemoa.gateway.errors import MissingKey, error_response
from routemoa.ledger import Store, StoreError

__all__ = ["AuthMiddleware", "Caller"]

TENANT = "routemoa.tenant"  # in the scope of a request that was let in
OPEN = "/healthz"  # to everybody


class AuthMiddleware:
    """An ASGI application that lets only tenants through to another, or everybody where there are none."""

    def __init__(self, app: ASGIApp, tenants: Tenants, body_limit: int) -> None:
        self._app = app
        self._tenants = tenants
        self._body_limit = body_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or not self._tenants.members or scope["path"] == OPEN:
            await self._app(scope, receive, send)
            return
        bearer = _bearer(scope)
        tenant = None if bearer is None else self._tenants.find(bearer)
        if tenant is None:
            try:
                await discard_body(receive, self._body_limit)
            except ClientDisconnect:
                return
            told = error_response(MissingKey(given=bearer is not None))
            await ResponseWriter(send).json(told.status, told.body, {"www-authenticate": "Bearer"})
            return
        await self._app({**scope, TENANT: tenant.name}, receive, send)


class Caller:
    """Whoever sent one request, and what the store says of it; `store` None: no calls are written down."""

    def __init__(self, scope: Scope, store: Store | None) -> None:
        self.name: str | None = scope.get(TENANT)
        self._store = store

    def new_recorder(self, method: str) -> CallRecorder | None:
        """Whom the request's calls are put down to."""
        return None if self._store is None else self._store.recorder(self.name, method)

    def exhausted_budget(self) -> BudgetExceeded | None:
        """What there is to say where nothing at all is left."""
        left = None if self._store is None else self._store.remaining_budget(self.name)
        if left is None:
            return None
        if ended := [(reset, span) for span, dollars, reset in left.spans if dollars is not None and dollars <= 0.0]:
            reset, span = max(ended)
            return BudgetExceeded(f"nothing is left of this {span}'s", reset=reset)
        return None

    def budget_headers(self) -> Mapping[str, str]:
        """The response headers that say what is left at this moment; none where there is no budget."""
        left = None if self._store is None else self._store.remaining_budget(self.name)
        if left is None:
            return {}
        found: dict[str, str] = {}
        for span, dollars, reset in left.spans:
            if dollars is not None:
                found[f"x-routemoa-remaining-{span}"] = f"{dollars:.9f}".rstrip("0").rstrip(".")
                found[f"x-routemoa-reset-{span}"] = format_time(reset)
        return found

    async def wait_until_settled(self) -> None:
        """Wait until the calls that have ended are counted in what is left."""
        if self._store is not None and self._store.remaining_budget(self.name) is not None:
            with suppress(StoreError):  # the answer is there all the same
                await self._store.flush()


def _bearer(scope: Scope) -> str | None:
    """The token of the Authorization header."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, token = value.decode("latin-1").partition(" ")
            if scheme.lower() == "bearer" and token.strip():
                return str(token.strip())
    return None
