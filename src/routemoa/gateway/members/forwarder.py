"""What passes requests on to the pool's members, as a pass-through needs it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

from routemoa.clients.retry import AttemptClient
from routemoa.clients.transport.upstream_response import UpstreamResponse
from routemoa.core.types import ModelSpec

__all__ = ["Forwarder"]


class Forwarder(AttemptClient, Protocol):
    """Passes requests on to the pool's members, one attempt at a time; `HttpClient` is one."""

    async def forward(
        self, model: ModelSpec, body: Mapping[str, Any], deadline: float, added: Collection[str] = (), route: str = ...
    ) -> UpstreamResponse:
        """Send a caller's body, with the fields that we `added`; return the response as it comes. Raises ModelError.

        The response must be closed.
        """
        ...
