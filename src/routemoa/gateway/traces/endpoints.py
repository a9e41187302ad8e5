"""GET /v1/traces/{id}: how an answer came about. POST /v1/feedback: what its caller says of it."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response

from routemoa.core.tables.server_table import ServerSettings
from routemoa.core.trace import Failure, Layer, Trace
from routemoa.gateway.access.caller import Caller
from routemoa.gateway.errors import HttpError
from routemoa.gateway.http_exchange.connection import read_json_object
from routemoa.gateway.http_exchange.json_response import json_response
from routemoa.gateway.http_exchange.response_ids import bare_id
from routemoa.gateway.traces.feedback import check_labels, parse_feedback, remove_feedback_texts
from routemoa.gateway.traces.lookup import TraceLookup
from routemoa.ledger.trace_store.traces import StoredTrace

__all__ = ["TraceEndpoints"]

NOT_KEPT = (
    "There is no trace {id} of yours: the id is that of another server's or another key's response, it is too old, or "
    "traces are not kept ([traces] of the pool file)."
)


class TraceEndpoints:
    """The routes of traces and feedback.

    Args:
        kept: the traces.
        settings: the limit and the deadline of a body.
    """

    def __init__(self, kept: TraceLookup, settings: ServerSettings) -> None:
        self._kept = kept
        self._settings = settings

    async def get_trace(self, request: Request) -> Response:
        """Return a trace to the caller whose key the request had. Raises HttpError."""
        id_ = bare_id(request.path_params["id"])
        if (found := await self._kept.find(id_, Caller(request.scope).name)) is None:
            raise HttpError(404, NOT_KEPT.format(id=id_[:64]), code="trace_not_found")
        return json_response(shape_trace(found))

    async def post_feedback(self, request: Request) -> Response:
        """Keep what a caller says of its answer. Raises HttpError, QueryError."""
        settings = self._settings
        body = await read_json_object(request.scope, request.receive, settings.max_body_bytes, settings.body_seconds)
        id_, feedback = parse_feedback(body)
        if self._kept.store is not None and not self._kept.store.settings.texts:
            feedback = remove_feedback_texts(feedback)
        tenant = Caller(request.scope).name
        if feedback.labels and (found := await self._kept.find(bare_id(id_), tenant)) is not None:
            check_labels(feedback.labels, found.answer.trace.prior)
        if not await self._kept.add_feedback(bare_id(id_), tenant, feedback):
            raise HttpError(404, NOT_KEPT.format(id=id_[:64]), param="id", code="trace_not_found")
        return json_response({"object": "feedback", "id": id_, "feedback": msgspec.to_builtins(feedback)})


def shape_trace(stored: StoredTrace) -> dict[str, Any]:
    """Return a trace as its caller may read it: without thoughts, and with the public reasons of failures."""
    trace = stored.answer.trace
    public = replace(
        trace, layers=tuple(map(_public_layer, trace.layers)), failures=tuple(map(_public_failure, trace.failures))
    )
    return {
        "object": "trace",
        "id": stored.id,
        "created": int(stored.at),
        "text": stored.answer.text,
        "trace": msgspec.to_builtins(_without_private_parts(public)),
        "feedback": [msgspec.to_builtins(said) for said in stored.feedback],
    }


def _public_layer(layer: Layer) -> Layer:
    proposals = tuple(replace(p, thought="") for p in layer.proposals)
    return replace(layer, proposals=proposals, failures=tuple(map(_public_failure, layer.failures)))


def _public_failure(failure: Failure) -> Failure:
    return replace(failure, reason=failure.public_reason)


def _without_private_parts(trace: Trace) -> Trace:
    """Return the trace without what was remembered of the conversation for the sake of prompt caches."""
    return replace(trace, query=replace(trace.query, cached=None))
