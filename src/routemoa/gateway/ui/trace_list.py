"""/ui/api/traces: searches the answers that were kept, opens one, finds similar questions, writes records.

Each caller sees its own traces, and all with the admin key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from routemoa.datasets.outcomes import record_from_stored
from routemoa.datasets.records import Record
from routemoa.gateway.errors import HttpError
from routemoa.gateway.http_exchange.json_response import json_response
from routemoa.gateway.http_exchange.response_ids import bare_id
from routemoa.gateway.traces.endpoints import shape_trace
from routemoa.gateway.traces.trace_facts import TraceFacts
from routemoa.gateway.ui.similar_questions import find_similar
from routemoa.gateway.ui.site import Site
from routemoa.gateway.ui.trace_search import TraceFilter, list_choices, read_filter, search_traces
from routemoa.gateway.ui.viewer import Viewer
from routemoa.ledger.trace_store.traces import StoredTrace, TraceStore

__all__ = ["TraceListEndpoints"]

MAX_ROWS = 500
"""Of one piece of a list."""
MAX_EXPORTED = 50_000
MAX_SIMILAR = 12
NO_STORE = {"cache-control": "no-store"}


class TraceListEndpoints:
    """The list of traces, and one of them.

    Args:
        site: keeps them.
    """

    def __init__(self, site: Site) -> None:
        self._site, self._index = site, site.state.trace_index

    async def get_list(self, request: Request) -> Response:
        """Return a piece of the traces that fit, how many there are, and what they can be filtered by.

        Raises:
            HttpError: a value of the query string cannot be read, or the caller may not list requests.
        """
        viewer, params = Viewer(request, self._site), request.query_params
        viewer.check_may_list()
        wanted, begin = read_filter(params), _read_number(params, "offset") or 0
        limit = min(MAX_ROWS, _read_number(params, "limit") or 100)
        own, found, listed = await asyncio.to_thread(self._search, viewer, wanted)
        listed |= {"data": found[begin : begin + limit], "offset": begin, "total": len(found), "stored": len(own)}
        return Response(msgspec.json.encode(listed), headers=NO_STORE, media_type="application/json")

    async def get_one(self, request: Request) -> Response:
        """Return a trace, as GET /v1/traces/{id} does; the admin key opens those of all callers. Raises HttpError."""
        viewer = Viewer(request, self._site)
        found = await self._find(viewer, request)
        return json_response({**shape_trace(found), "tenant": found.tenant}, headers=NO_STORE)

    async def get_similar(self, request: Request) -> Response:
        """Return the traces whose questions are most like that of a trace. Raises HttpError."""
        viewer = Viewer(request, self._site)
        viewer.check_may_list()
        of = await self._find(viewer, request)
        found = await asyncio.to_thread(self._find_similar, viewer, of)
        similar = [{"similarity": similarity, **msgspec.to_builtins(facts)} for similarity, facts in found]
        return json_response({"object": "list", "data": similar}, headers=NO_STORE)

    async def get_records(self, request: Request) -> Response:
        """Return the traces that fit as JSON Lines of records, which training reads. Raises HttpError."""
        viewer, store = Viewer(request, self._site), self._site.state.traces
        viewer.check_may_list()
        _, found, _ = await asyncio.to_thread(self._search, viewer, read_filter(request.query_params))
        chosen = found[:MAX_EXPORTED]
        with_feedback = request.query_params.get("scored") == "1"
        lines: Iterator[bytes] = iter(())
        if store is not None:
            lines = _write_records(store, chosen, viewer, with_feedback=with_feedback)
        headers = {**NO_STORE, "content-disposition": 'attachment; filename="records.jsonl"'}
        return StreamingResponse(lines, headers=headers, media_type="application/jsonl")

    def _search(self, viewer: Viewer, wanted: TraceFilter) -> tuple[list[TraceFacts], list[TraceFacts], dict[str, Any]]:
        """Return the caller's traces, those that fit, and what else the list says; blocks."""
        known = self._index.refresh()
        own = viewer.filter_own(known.facts)
        about = {"object": "list", "missing": known.missing, "choices": list_choices(own)}
        return own, search_traces(own, wanted), about

    def _find_similar(self, viewer: Viewer, of: StoredTrace) -> list[tuple[float, TraceFacts]]:
        own = viewer.filter_own(self._index.refresh().facts)
        others = [f for f in own if f.id != of.id and f.question]
        return find_similar(of.answer.trace.query.text, others, MAX_SIMILAR)

    async def _find(self, viewer: Viewer, request: Request) -> StoredTrace:
        id_, store = bare_id(request.path_params["id"]), self._site.state.traces
        found = None
        if store is not None:
            found = await asyncio.to_thread(store.find, id_, viewer.caller.name, everyone=viewer.is_admin)
        if found is None:
            raise HttpError(404, f"There is no trace {id_[:64]} that this key may see.", code="trace_not_found")
        return found


def _write_records(
    store: TraceStore, chosen: list[TraceFacts], viewer: Viewer, *, with_feedback: bool
) -> Iterator[bytes]:
    """Yield the lines of records; Starlette takes each in a thread."""
    for facts in chosen:
        stored = store.find(facts.id, viewer.caller.name, everyone=viewer.is_admin)
        record: Record | None = None if stored is None else record_from_stored(stored, with_feedback=with_feedback)
        if record is not None:
            yield msgspec.json.encode(record) + b"\n"


def _read_number(params: Mapping[str, str], name: str) -> int | None:
    value = params.get(name)
    if value is None:
        return None
    if not value.isdecimal() or len(value) > 15:
        raise HttpError(400, f"'{name}' must be a whole number.", param=name)
    return int(value)
