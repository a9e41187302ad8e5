"""By which names the server may be addressed, and which web pages may use it."""

from __future__ import annotations

import re
import socket
from collections.abc import Awaitable, Sequence
from functools import lru_cache
from ipaddress import ip_address

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from routemoa.core.tables.server_table import ServerSettings
from routemoa.gateway.access.rates import RATE_HEADERS
from routemoa.gateway.errors import UnknownHost
from routemoa.gateway.http_exchange.connection import ResponseWriter
from routemoa.gateway.http_exchange.request_headers import index_headers

__all__ = ["HostMiddleware", "cors_middleware", "is_allowed_host"]

LOOPBACK_ORIGIN = r"https?://(localhost|[a-z0-9.-]+\.localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?"
"""Pages that a program on this machine serves."""
EXPOSED_HEADERS = (
    *("retry-after", "x-should-retry", "x-request-id", "x-upstream-request-id", "x-routemoa-reset"),
    *RATE_HEADERS,
)
"""Response headers that a page may read beyond the few that it always may."""
PREFLIGHT_SECONDS = 600
MAX_HOST = 300
"""Characters of a Host header: no name of the internet has more than 253."""


def cors_middleware(settings: ServerSettings, *, loopback: bool) -> list[Middleware]:
    """Return the middleware that lets web pages in; none where no page is let in.

    Args:
        settings: name the origins of pages.
        loopback: the server listens on this machine alone, so that pages of programs on it are let in, too.
    """
    if not settings.allow_origins and not loopback:
        return []
    regex = LOOPBACK_ORIGIN if loopback else None
    return [
        Middleware(
            OriginMiddleware,
            allow_origins=settings.allow_origins,
            allow_origin_regex=regex,
            allow_methods=("GET", "POST"),
            allow_headers=("*",),
            expose_headers=EXPOSED_HEADERS,
            max_age=PREFLIGHT_SECONDS,
        )
    ]


class OriginMiddleware(CORSMiddleware):
    """Starlette's, without its detour for a POST that no page sends: no cache keeps the response for one."""

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:  # type: ignore[override]
        """Serve one request."""
        if scope["type"] == "http" and scope["method"] == "POST" and b"origin" not in index_headers(scope):
            return self.app(scope, receive, send)
        return super().__call__(scope, receive, send)


class HostMiddleware:
    """Refuses requests that name another server than this one.

    A web page whose name is made to point at this machine (DNS rebinding) shares an origin with the server, so that the
    browser lets it in. It gives itself away by the name in the Host header.

    Args:
        app: what is protected.
        allowed: names beyond those of this machine.
    """

    def __init__(self, app: ASGIApp, allowed: Sequence[str] = ()) -> None:
        self._app = app
        self._allowed = frozenset(name.lower() for name in allowed)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request."""
        if scope["type"] != "http":
            return self._app(scope, receive, send)
        headers = index_headers(scope)
        host = headers.get(b"host", b"").decode("latin-1")
        if len(host) <= MAX_HOST and is_allowed_host(host, self._allowed, from_page=b"origin" in headers):
            return self._app(scope, receive, send)
        name = re.sub(r"[^\w.:\[\]-]", "?", host)[:100]
        response = UnknownHost(name).response
        return ResponseWriter(send).json(response.status, response.body, {"connection": "close"})


@lru_cache(maxsize=256)
def is_allowed_host(host: str, allowed: frozenset[str], *, from_page: bool) -> bool:
    """Return whether a Host header may name this server.

    An address may: no page can make it point elsewhere. A name of one label may unless a web page sent the request
    (`from_page`): no page of the internet has one.
    """
    name = _without_port(host.strip().lower()).removesuffix(".")
    if not name or name in allowed or name == "localhost" or name.endswith(".localhost") or name in _own_names():
        return True
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return "." not in name and not from_page and re.fullmatch(r"[\w-]+", name) is not None
    return True


def _without_port(host: str) -> str:
    """Return the name or the address of a Host header."""
    if bracketed := re.fullmatch(r"(\[[0-9a-f:.]*\])(:\d*)?", host):
        return bracketed[1]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


@lru_cache(1)
def _own_names() -> frozenset[str]:
    name = socket.gethostname().lower()
    return frozenset({name, name.partition(".")[0] + ".local"})
