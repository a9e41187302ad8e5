"""GET /ui/api/live: one stream of server-sent events that says what the server does at this moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from routemoa.gateway.chat_api.sse import KEEP_ALIVE_COMMENT, encode_sse
from routemoa.gateway.telemetry.live_board import BUCKET_SECONDS, MemberState, QueueState, WorkerMoment
from routemoa.gateway.ui.live_snapshot import Watcher, describe_members, describe_queue, describe_requests
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
        if site.state.boards is not None:
            site.state.boards.collect = self._describe_own

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
        workers: list[int | None] = []
        while (now := time.monotonic()) < end and not self._site.state.is_stopping():
            if not budgets_read or now - budgets_read >= BUDGET_SECONDS:
                budgets_read = now
                budgets = await asyncio.to_thread(self._read_budgets, viewer)
            moments = await self._list_moments()
            if workers != (workers := [m.worker for m in moments]):
                since = 0.0  # the hour of another worker belongs to the sums, or no longer does
            moment = self._describe(moments, viewer, watcher, since) | {"budgets": budgets, "workers": workers}
            if moment != before:
                before, sent = moment, now
                yield encode_sse({"at": time.time(), "first": since == 0.0, **moment})
                since = max((start - BUCKET_SECONDS for start, *_ in moment["series"]), default=since) or 1.0
            elif now - sent >= QUIET_SECONDS:
                sent = now
                yield KEEP_ALIVE_COMMENT
            await asyncio.sleep(TICK)

    async def _list_moments(self) -> list[WorkerMoment]:
        """Return what each worker does, the first one first."""
        own, boards = self._describe_own(), self._site.state.boards
        if boards is None:
            return [own]
        return sorted([own, *await asyncio.to_thread(boards.list_others)], key=lambda moment: moment.worker or 0)

    def _describe_own(self) -> WorkerMoment:
        state, memory = self._site.state, self._site.memory
        gate, board = state.gate, state.board
        return WorkerMoment(
            None if state.boards is None else state.boards.number,
            time.monotonic(),
            board.list_running(),
            list(board.recent),
            list(board.buckets),
            [MemberState(name=m.name, **memory.health(m).to_plain()) for m in self._site.pool],
            QueueState(gate.waiting, gate.refused, int(gate.limit.value), round(gate.limit.busy, 2)),
        )

    def _describe(
        self, moments: Sequence[WorkerMoment], viewer: Viewer, watcher: Watcher, since: float
    ) -> dict[str, Any]:
        names = [m.name for m in self._site.pool if viewer.caller.may_use(m.name, is_method=False)]
        return {
            **describe_requests(moments, watcher, self._site.state.board.wall_clock(), since),
            "members": describe_members(moments, names),
            "queue": None if viewer.role == "tenant" else describe_queue(moments),
        }

    def _read_budgets(self, viewer: Viewer) -> list[dict[str, Any]]:
        now = time.time()
        return [forecast_budget(budget, now) for budget in list_budgets(self._site, viewer)]
