"""Who looks at the dashboard, and what that may be shown: its own, or everything with the admin key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from starlette.requests import Request
from starlette.routing import BaseRoute, Router
from starlette.types import Receive, Scope, Send

from routemoa.gateway.access.auth import ADMIN_SCOPE_KEY
from routemoa.gateway.access.caller import Caller
from routemoa.gateway.errors import HttpError
from routemoa.gateway.http_exchange.connection import ResponseWriter
from routemoa.gateway.traces.trace_facts import TraceFacts
from routemoa.gateway.ui.site import Site

__all__ = ["SameOriginMiddleware", "Viewer"]

Role = Literal["open", "tenant", "admin"]
OWN_PAGE = {b"same-origin", b"none"}
"""Of Sec-Fetch-Site: this server's page, or a person who typed the address. No other page may read these routes, though
a server on this machine lets other pages use its API."""
OPEN_ON_A_NETWORK = (
    "Without keys this server cannot tell its callers apart, so it lists no requests to other machines. Make a "
    "key with  routemoa keys create NAME,  or open the page on the server's own machine."
)


class Viewer:
    """The sender of a request for the dashboard's data.

    Args:
        request: with its key.
        site: what is shown.
    """

    def __init__(self, request: Request, site: Site) -> None:
        self.caller = Caller(request.scope)
        self.is_admin: bool = request.scope.get(ADMIN_SCOPE_KEY, False)
        self._is_exposed = not site.loopback and self.caller.tenant is None and not self.is_admin

    @property
    def role(self) -> Role:
        """Return whose data is shown."""
        if self.is_admin:
            return "admin"
        return "open" if self.caller.tenant is None else "tenant"

    def check_may_list(self) -> None:
        """Check that requests may be listed. Raises HttpError where the caller may be anyone on the network."""
        if self._is_exposed:
            raise HttpError(403, OPEN_ON_A_NETWORK, code="key_needed")

    def filter_own(self, facts: Sequence[TraceFacts]) -> list[TraceFacts]:
        """Return those that the caller may see: its own, or all with the admin key."""
        return list(facts) if self.is_admin else [f for f in facts if f.tenant == self.caller.name]

    def check_is_admin(self) -> None:
        """Check that everything may be shown: with the admin key, or on an open server of this machine alone."""
        if not self.is_admin and (self.caller.tenant is not None or self._is_exposed):
            raise HttpError(403, "This needs the server's admin key.", code="admin_key_needed")


class SameOriginMiddleware:
    """Routes that other web pages may not read.

    Args:
        routes: of the page's data.
    """

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._router = Router(routes, redirect_slashes=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        site = dict(scope["headers"]).get(b"sec-fetch-site", b"none")
        if site not in OWN_PAGE:
            error = HttpError(403, "Only the page of this server reads these routes.", code="foreign_page")
            await ResponseWriter(send).json(403, error.response.body, {})
            return
        await self._router(scope, receive, send)
