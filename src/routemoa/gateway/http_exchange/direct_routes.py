"""Routes that most requests take: found by their path alone, before Starlette's router."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["DirectRoutes"]


class DirectRoutes:
    """An ASGI middleware that serves POST requests to some paths.

    The endpoints answer their own errors. All other requests go on to the router, which also says what is not allowed.

    Args:
        app: the router.
        endpoints: path -> what serves it.
    """

    def __init__(self, app: ASGIApp, endpoints: Mapping[str, ASGIApp]) -> None:
        self._app, self._endpoints = app, endpoints

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one connection."""
        direct = scope["type"] == "http" and scope["method"] == "POST"
        app = self._endpoints.get(scope["path"], self._app) if direct else self._app
        return app(scope, receive, send)
