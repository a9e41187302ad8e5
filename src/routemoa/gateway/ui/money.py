"""GET /ui/api/money, and the same as CSV: what was spent, on what, what it saved, and what is left of the budgets."""

from __future__ import annotations

import asyncio
import csv
import io
import time
from collections.abc import Iterable, Iterator
from typing import Any, cast

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from routemoa.core.access.tenants import NO_KEY
from routemoa.gateway.errors import HttpError
from routemoa.gateway.http_exchange.json_response import json_response
from routemoa.gateway.ui.money_sums import (
    describe_cache,
    describe_sums,
    estimate_saving,
    forecast_budget,
    rows_of,
)
from routemoa.gateway.ui.site import Site
from routemoa.gateway.ui.viewer import Viewer
from routemoa.ledger import BudgetState, LedgerEntry, Store, read_calls
from routemoa.ledger.sums.aggregates import GROUPINGS, Grouping
from routemoa.ledger.sums.call_sums import CallSums, read_call_sums

__all__ = ["MoneyEndpoints", "list_budgets"]

SECONDS_PER_DAY = 86_400
MAX_DAYS = 400
NO_STORE = {"cache-control": "no-store"}
LINES_AT_ONCE = 500
READING_SECONDS = 0.3
"""That one request reads new traces for, of whose answers the savings are."""


class MoneyEndpoints:
    """The sums of the ledger.

    Args:
        site: has the ledger, and the facts of the traces, for what was saved.
    """

    def __init__(self, site: Site) -> None:
        self._site, self._index = site, site.state.trace_index

    async def get(self, request: Request) -> Response:
        """Return sums by each grouping, savings by estimates, cache hits and budgets. Raises HttpError."""
        viewer = Viewer(request, self._site)
        store, since, now, key = self._read(request, viewer)
        sums = await asyncio.to_thread(read_call_sums, store.path, since, now, key)
        savings = await asyncio.to_thread(self._estimate_savings, viewer, since, key)
        found: dict[str, Any] = {
            "since": since,
            "until": now,
            **describe_sums(sums),
            "keys": _list_keys(self._site, viewer),
            "savings": savings,
            "cache": describe_cache(sums, self._site.pool),
            "budgets": [forecast_budget(b, now) for b in await asyncio.to_thread(list_budgets, self._site, viewer)],
        }
        return json_response(found, headers=NO_STORE)

    def _estimate_savings(self, viewer: Viewer, since: float, key: str | None) -> dict[str, Any]:
        """Return what the answers of a time saved; blocks."""
        known = self._index.refresh(READING_SECONDS)
        facts = [f for f in viewer.filter_own(known.facts) if f.at >= since and (key is None or _key(f.tenant) == key)]
        return {
            "moa": msgspec.to_builtins(estimate_saving(facts, lambda f: f.moa_cost)),
            "costliest": msgspec.to_builtins(estimate_saving(facts, lambda f: f.costliest_cost)),
            "missing": known.missing,
        }

    async def get_csv(self, request: Request) -> Response:
        """Return the rows of one grouping as CSV, or with `by=call` every call. Raises HttpError."""
        store, since, now, key = self._read(request, Viewer(request, self._site))
        by = request.query_params.get("by", "model")
        if by != "call" and by not in GROUPINGS:
            raise HttpError(400, f"'by' must be one of {', '.join(('call', *GROUPINGS))}.", param="by")
        headers = {**NO_STORE, "content-disposition": f'attachment; filename="routemoa-by-{by}.csv"'}
        lines: Iterable[str]
        if by == "call":
            lines = _write_calls(read_calls(store.path, since), key)  # Starlette takes each piece in a thread
        else:
            sums = await asyncio.to_thread(read_call_sums, store.path, since, now, key)
            lines = [_write_groups(sums, cast("Grouping", by))]
        return StreamingResponse(lines, headers=headers, media_type="text/csv; charset=utf-8")

    def _read(self, request: Request, viewer: Viewer) -> tuple[Store, float, float, str | None]:
        """Return the ledger, the time and the key that are wanted; all keys are None. Raises HttpError."""
        viewer.check_may_list()
        if (store := self._site.state.store) is None:
            raise HttpError(404, "This server keeps no ledger: start it without --no-store.", code="no_ledger")
        days = request.query_params.get("days", "30")
        if not days.isdecimal() or not 0 < int(days[:6]) <= MAX_DAYS:
            raise HttpError(400, f"'days' must be a whole number from 1 to {MAX_DAYS}.", param="days")
        now = time.time()
        since = (now // SECONDS_PER_DAY - int(days) + 1) * SECONDS_PER_DAY
        wanted = request.query_params.get("key") or None
        return store, since, now, wanted if viewer.is_admin else _key(viewer.caller.name)


def list_budgets(site: Site, viewer: Viewer) -> list[BudgetState]:
    """Return the budgets that the caller may see: its own, or those of all tenants and their total."""
    store = site.state.store
    if store is None:
        return []
    names = [t.name for t in site.state.keyring.list_active()] if viewer.is_admin else [viewer.caller.name]
    found: dict[tuple[str, str], BudgetState] = {}
    for name in (*names, None) if viewer.is_admin else names:
        store.reload_budget(name)
        found |= {(budget.key, budget.span): budget for budget in store.list_budgets(name)}
    shown = list(found.values())
    return shown if viewer.role != "tenant" else [b for b in shown if b.key == viewer.caller.name]


def _list_keys(site: Site, viewer: Viewer) -> list[str]:
    """Return the keys by which the admin may filter."""
    return [NO_KEY, *sorted(t.name for t in site.state.keyring.list_active())] if viewer.is_admin else []


def _key(tenant: str | None) -> str:
    """Return the name that the ledger has for a tenant."""
    return NO_KEY if tenant is None else tenant


def _write_groups(sums: list[CallSums], by: Grouping) -> str:
    rows = rows_of(sums, by)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns = list(rows[0]) if rows else ["group"]
    writer.writerow([by, *columns[1:]])
    writer.writerows([_escape(value) for value in row.values()] for row in rows)
    return out.getvalue()


def _write_calls(calls: Iterator[LedgerEntry], key: str | None) -> Iterator[str]:
    """Yield every call as `routemoa ledger --csv` writes it, some hundred lines at a time."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns = LedgerEntry.__struct_fields__
    writer.writerow(columns)
    for count, call in enumerate((c for c in calls if key is None or c.key == key), 1):
        writer.writerow([_escape(getattr(call, column)) for column in columns])
        if count % LINES_AT_ONCE == 0:
            yield out.getvalue()
            out.seek(0)
            out.truncate()
    yield out.getvalue()


def _escape(value: object) -> object:
    """Return a value that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+@\t\r" and value else value
