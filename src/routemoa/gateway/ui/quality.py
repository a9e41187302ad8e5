"""GET /ui/api/quality and /ui/api/quality/learning: what feedback says, and what was learned from it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from typing import Any, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from routemoa.gateway.errors import HttpError
from routemoa.gateway.http_exchange.json_response import json_response
from routemoa.gateway.ui.site import Site
from routemoa.gateway.ui.viewer import Viewer
from routemoa.ledger.trace_store.choice_counts import DAY, count_choices
from routemoa.ledger.trace_store.traces import read_traces

__all__ = ["QualityEndpoints"]

logger = logging.getLogger("routemoa.gateway")

NO_STORE = {"cache-control": "no-store"}
DAYS = (7, 30, 90, 365)
"""Spans that the page offers: each is measured once for all tabs."""
KEPT_SECONDS = 30.0
"""After so long figures are measured again, while those of before are shown: with thousands of traces that takes some
seconds."""
MAX_KEPT = 32


class _Question(NamedTuple):
    tenant: str | None
    everyone: bool
    days: int


class _Figures(NamedTuple):
    at: float
    """Seconds since the epoch."""
    plain: dict[str, Any]


class QualityEndpoints:
    """What feedback says of the caller's answers, or of all with the admin key.

    Args:
        site: keeps the traces.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._kept: OrderedDict[_Question, _Figures] = OrderedDict()
        self._lock = threading.Lock()
        self._renewing: asyncio.Task[_Figures] | None = None

    async def get(self, request: Request) -> Response:
        """Return the figures. Raises HttpError."""
        viewer, site = Viewer(request, self._site), self._site
        viewer.check_may_list()
        days = request.query_params.get("days", "30")
        if days not in map(str, DAYS):
            raise HttpError(400, f"'days' must be one of {', '.join(map(str, DAYS))}.", param="days")
        if site.state.traces is None or site.state.operations is None:
            return json_response({"kept": False}, headers=NO_STORE)
        asked = _Question(viewer.caller.name, viewer.is_admin, int(days))
        figures = self._kept.get(asked)
        if figures is None:
            figures = await asyncio.to_thread(self._measure, asked, 0.0)
        elif figures.at < time.time() - KEPT_SECONDS and (self._renewing is None or self._renewing.done()):
            self._renewing = asyncio.create_task(asyncio.to_thread(self._measure, asked, figures.at))
            self._renewing.add_done_callback(_log_failure)
        return json_response(figures.plain, headers=NO_STORE)

    async def get_learning(self, request: Request) -> Response:
        """Return what was learned, to the operator. Raises HttpError."""
        Viewer(request, self._site).check_is_admin()
        operations = self._site.state.operations
        if operations is None:
            return json_response({"steps": []}, headers=NO_STORE)
        found = await asyncio.to_thread(operations.list_learning_steps, self._site.pool)
        return json_response(found, headers=NO_STORE)

    def _measure(self, asked: _Question, known: float) -> _Figures:
        """Return figures that are newer than `known`; blocks. One request measures, others wait for what it finds."""
        store, operations = self._site.state.traces, self._site.state.operations
        assert store is not None  # noqa: S101  (as `get` has made sure)
        assert operations is not None  # noqa: S101
        with self._lock:
            if (found := self._kept.get(asked)) is not None and found.at > known:
                return found
            now = time.time()
            since = now - asked.days * DAY
            choices = count_choices(store.path, asked.tenant, since, everyone=asked.everyone)
            judged = (
                stored
                for stored in read_traces(store.path, with_feedback=True)
                if stored.at >= since and (asked.everyone or stored.tenant == asked.tenant)
            )
            counts = {"answers": sum(c.answers for c in choices), "judged": sum(c.judged for c in choices)}
            head = {"kept": True, "days": asked.days, "at": now, **counts, "choices": msgspec.to_builtins(choices)}
            found = _Figures(now, {**head, **operations.measure_quality(self._site.pool, judged, now)})
            self._kept[asked] = found
            self._kept.move_to_end(asked)
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
            return found


def _log_failure(task: asyncio.Task[_Figures]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.warning("figures of quality could not be measured again: %s", error)
