"""The dashboard and the playground: one page at `/`, its files, and the routes that its data comes from."""

from __future__ import annotations

from starlette.routing import BaseRoute, Mount, Route

from routemoa.gateway.ui.about import AboutEndpoint
from routemoa.gateway.ui.live import LiveEndpoint
from routemoa.gateway.ui.money import MoneyEndpoints
from routemoa.gateway.ui.page import get_asset, get_page
from routemoa.gateway.ui.pool_editor import PoolEndpoints, pool_admin_routes
from routemoa.gateway.ui.quality import QualityEndpoints
from routemoa.gateway.ui.rejudge import RejudgeEndpoint
from routemoa.gateway.ui.site import Site
from routemoa.gateway.ui.trace_list import TraceListEndpoints
from routemoa.gateway.ui.viewer import SameOriginMiddleware

__all__ = ["Site", "ui_routes"]


def ui_routes(site: Site) -> list[BaseRoute]:
    """Return the page at `/`, its files under /ui/assets, and its data under /ui/api, which are no public API."""
    site.state.trace_index.set_members(site.pool.models)
    traces, money = TraceListEndpoints(site), MoneyEndpoints(site)
    quality = QualityEndpoints(site)
    data = SameOriginMiddleware(
        [
            Route("/about", AboutEndpoint(site).get),
            Route("/traces", traces.get_list),
            Route("/traces/{id}", traces.get_one),
            Route("/traces/{id}/similar", traces.get_similar),
            Route("/judge", RejudgeEndpoint(site).post, methods=["POST"]),
            Route("/records", traces.get_records),
            Route("/live", LiveEndpoint(site).get),
            Route("/money", money.get),
            Route("/money.csv", money.get_csv),
            Route("/quality", quality.get),
            Route("/quality/learning", quality.get_learning),
            Route("/pool", PoolEndpoints(site).get),
        ]
    )
    return [
        Route("/", get_page),
        *pool_admin_routes(site),
        Mount("/ui", routes=[Route("/assets/{name}", get_asset), Mount("/api", app=data)]),
    ]
