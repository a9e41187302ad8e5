"""GET /ui/api/live: one stream of server-sent events that says what the server does at this moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from routemoa.gateway.chat_api.sse import KEEP_ALIVE_COMMENT, encode_sse
from routemoa.gateway.ui.live_snapshot import Watcher, describe_board
from routemoa.gateway.ui.money import list_budgets
from routemoa.gateway.ui.money_sums import forecast_budget
from routemoa.gateway.ui.site import Site
from routemoa.gateway.ui.viewer import Viewer

__all__ = ["LiveEndpoint"]

TICK = 1.0
"""Seconds between two looks; a moment like the one before is not sent."""
QUIET_SECONDS = 15.0
"""After which a comment shows that the stream is open."""
BUDGET_SECONDS = 10.0
"""Between two readings of the budgets."""
STREAM_SECONDS = 120.0
"""After which the page opens the stream again: its key is checked again, and a new pool file is shown."""
HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


class LiveEndpoint:
    """Streams what the server does.

    Args:
        site: what is watched.
    """

    def __init__(self, site: Site) -> None:
        self._site = site

    async def get(self, request: Request) -> Response:
        """Return the stream: each event is a moment, as far as the caller may see it. Raises HttpError."""
        viewer = Viewer(request, self._site)
        viewer.check_may_list()
        return StreamingResponse(self._watch(viewer), headers=HEADERS, media_type="text/event-stream")

    async def _watch(self, viewer: Viewer) -> AsyncGenerator[bytes, None]:
        watcher = Watcher(viewer.caller.name, viewer.is_admin)
        end = time.monotonic() + STREAM_SECONDS
        before: dict[str, Any] = {}
        since = sent = budgets_read = 0.0
        budgets: list[dict[str, Any]] = []
        while (now := time.monotonic()) < end and not self._site.state.is_stopping():
            if not budgets_read or now - budgets_read >= BUDGET_SECONDS:
                budgets_read = now
                budgets = await asyncio.to_thread(self._read_budgets, viewer)
            moment = self._describe(viewer, watcher, since) | {"budgets": budgets}
            if moment != before:
                before, sent = moment, now
                yield encode_sse({"at": time.time(), "first": since == 0.0, **moment})
                since = max((start for start, *_ in moment["series"]), default=since) or 1.0
            elif now - sent >= QUIET_SECONDS:
                sent = now
                yield KEEP_ALIVE_COMMENT
            await asyncio.sleep(TICK)

    def _describe(self, viewer: Viewer, watcher: Watcher, since: float) -> dict[str, Any]:
        state = self._site.state
        moment = describe_board(state.board, watcher, since)
        moment["members"] = [
            {"name": m.name, **self._site.memory.health(m).to_plain()}
            for m in self._site.pool
            if viewer.caller.may_use(m.name, is_method=False)
        ]
        gate = state.gate
        queue = {"waiting": gate.waiting, "refused": gate.refused, "busy": round(gate.limit.busy, 2)}
        moment["queue"] = None if viewer.role == "tenant" else {**queue, "limit": int(gate.limit.value)}
        return moment

    def _read_budgets(self, viewer: Viewer) -> list[dict[str, Any]]:
        now = time.time()
        return [forecast_budget(budget, now) for budget in list_budgets(self._site, viewer)]
