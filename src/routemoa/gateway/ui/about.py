"""GET /ui/api/about: what the server is, and what the caller may do."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from routemoa import __version__
from routemoa.gateway.http_exchange.json_response import json_response
from routemoa.gateway.ui.site import Site
from routemoa.gateway.ui.viewer import Viewer

__all__ = ["AboutEndpoint"]


class AboutEndpoint:
    """Describes the server to the page.

    Args:
        site: what is described.
    """

    def __init__(self, site: Site) -> None:
        self._site = site

    async def get(self, request: Request) -> Response:
        """Return what the page needs before it can show anything."""
        site, viewer = self._site, Viewer(request, self._site)
        state, mixture, caller = site.state, site.pool.mixture, viewer.caller
        traces = state.traces.settings if state.traces is not None else None
        described: dict[str, Any] = {
            "version": __version__,
            "role": viewer.role,
            "name": caller.name,
            "methods": [name for name in site.methods if caller.may_use(name, is_method=True)],
            "members": [m.name for m in site.pool if caller.may_use(m.name, is_method=False)],
            "mixture": {
                "fusion": mixture.fusion,
                "prefer": str(mixture.prefer),
                "target": mixture.target,
                "top_k": mixture.max_layer_models,
                "open": mixture.open,
            },
            "traces": {"keep": traces is not None, "texts": traces is not None and traces.texts},
            "has_ledger": state.store is not None,
            "has_admin_key": state.admin_key is not None,
        }
        return json_response(described, headers={"cache-control": "no-store"})
