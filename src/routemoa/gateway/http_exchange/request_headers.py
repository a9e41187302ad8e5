"""The headers of a request by their names: many look for one, and they are the same for all."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import Scope

__all__ = ["index_headers"]

HEADERS_KEY = "routemoa.headers"
"""Where the scope of a request holds them, once they were asked for."""


def index_headers(scope: Scope) -> Mapping[bytes, bytes]:
    """Return the headers of a request by their names, which are in lower case; of several with one name the first."""
    found: dict[bytes, bytes] | None = scope.get(HEADERS_KEY)
    if found is None:
        found = scope[HEADERS_KEY] = dict(reversed(scope["headers"]))
    return found
