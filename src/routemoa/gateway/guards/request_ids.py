"""The id of each request, by which a caller and a log can speak of it: the caller's own, else a new one."""

from __future__ import annotations

import re
from collections.abc import Awaitable
from os import urandom

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from routemoa.gateway.http_exchange.request_headers import index_headers

__all__ = ["REQUEST_ID", "REQUEST_ID_KEY", "RequestIdMiddleware", "choose_request_id", "new_request_id"]

REQUEST_ID = "x-request-id"
REQUEST_ID_KEY = "routemoa.request_id"
"""Where the scope of a request holds its id."""
_NAME = REQUEST_ID.encode()
_SANE = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)


class RequestIdMiddleware:
    """Gives every response the id of its request, unless it has one: that of the member that is passed through."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one connection."""
        if scope["type"] != "http":
            return self._app(scope, receive, send)
        scope[REQUEST_ID_KEY] = request_id = choose_request_id(scope)

        def send_with_id(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                headers = message.get("headers", ())
                if _NAME not in dict(headers):
                    message = {**message, "headers": [*headers, (_NAME, request_id.encode())]}
            return send(message)

        return self._app(scope, receive, send_with_id)


def choose_request_id(scope: Scope) -> str:
    """Return the id that a caller gave its request, where it is sane; else a new one."""
    if (value := index_headers(scope).get(_NAME)) is None:
        return new_request_id()
    given = value.decode("latin-1").strip()
    return given if _SANE.fullmatch(given) else new_request_id()


def new_request_id() -> str:
    """Return a new id."""
    return f"req_{urandom(16).hex()}"
