"""The paths by which clients reach the routes, with and without `/v1`: base URLs are written in many ways."""

from __future__ import annotations

import re
from collections.abc import Awaitable

from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["PathMiddleware", "normalize_path"]

API_HEADS = {
    "chat",
    "models",
    "responses",
    "messages",
    "embeddings",
    "completions",
    "traces",
    "feedback",
    "files",
    "batches",
}
"""The first segments of the routes under /v1."""
_PREFIX = re.compile(r"/+(?:v1/+)*+")


class PathMiddleware:
    """Brings the path of every request into the form in which the routes have it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one connection."""
        if scope["type"] == "http":
            scope["path"] = normalize_path(scope["path"])
        return self._app(scope, receive, send)


def normalize_path(path: str) -> str:
    """Return a path with one slash before it, and with `/v1` before the routes of the API."""
    prefix = _PREFIX.match(path)
    if prefix is None:
        return path
    rest = path[prefix.end() :]
    if rest == "health":
        return "/healthz"
    return f"/v1/{rest}" if rest.split("/", 1)[0] in API_HEADS else f"/{rest}"
