"""What connections beyond the limits are told: that there are too many; or how the server is, where they ask that."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from routemoa.gateway.errors import ErrorResponse, HttpError
from routemoa.gateway.guards.request_ids import REQUEST_ID, choose_request_id
from routemoa.gateway.http_exchange.connection import discard_body

__all__ = ["TOO_MANY", "OverflowApp"]

TOO_MANY = ErrorResponse(503, "The server has too many connections.", code="overloaded", retry_after=5)
HEALTH = ("/healthz", "/health", "/readyz")
BODY_BYTES = 2**20
"""Of a body that are read and dropped, so that its caller reads the response."""
BODY_SECONDS = 1.0


class OverflowApp:
    """An ASGI application for one connection beyond the limits: it answers GET /healthz and refuses all else.

    Args:
        app: the server's application.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["path"] in HEALTH and scope["method"] == "GET":
            await self._app(scope, receive, send)
            return
        try:
            with suppress(HttpError):  # a body that comes slowly is not waited for
                await discard_body(receive, BODY_BYTES, BODY_SECONDS)
        except ClientDisconnect:
            return
        headers = {**TOO_MANY.headers, "connection": "close", REQUEST_ID: choose_request_id(scope)}
        response = Response(msgspec.json.encode(TOO_MANY.body), TOO_MANY.status, headers, "application/json")
        await response(scope, receive, send)
