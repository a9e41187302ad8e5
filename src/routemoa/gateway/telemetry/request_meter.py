"""Measures one request for whoever watches the server: metrics, spans, and the line in the log."""

from __future__ import annotations

from time import monotonic
from typing import Any

from starlette.types import Scope

from routemoa.core.protocols import CallRecorder
from routemoa.core.trace import Trace
from routemoa.gateway.guards.request_ids import REQUEST_ID_KEY
from routemoa.gateway.telemetry.live_board import LiveRequest
from routemoa.gateway.telemetry.metrics import NO_MODEL, ServerMetrics
from routemoa.gateway.telemetry.request_log import add_log_fields
from routemoa.gateway.telemetry.tracing import RequestSpan, RequestTracer

__all__ = ["UNMETERED", "RequestMeter"]


class RequestMeter:
    """Measures one request, from its arrival to the end of its response.

    Args:
        scope: of the request.
        metrics: counts it; None counts nothing.
        tracer: makes spans of it; None makes none.
        live: shows it while it is answered; None shows nothing.
    """

    def __init__(
        self,
        scope: Scope,
        metrics: ServerMetrics | None = None,
        tracer: RequestTracer | None = None,
        live: LiveRequest | None = None,
    ) -> None:
        self._scope, self._metrics, self._live = scope, metrics, live
        self._path = str(scope["path"]).rstrip("/")
        self._arrived = monotonic()
        self._model: str | None = None
        self._span: RequestSpan | None = None
        if tracer is not None:
            self._span = tracer.begin(self._path, scope["headers"], scope.get(REQUEST_ID_KEY))

    def name_model(self, model: str) -> None:
        """Note the method or member that the request names."""
        self._model = model
        if self._live is not None:
            self._live.model = model
        if self._span is not None:
            self._span.name_model(NO_MODEL if self._metrics is None else self._metrics.find_name(model), model)

    def record_calls(self, recorder: CallRecorder | None) -> CallRecorder | None:
        """Return a recorder that also measures the calls, where anything is measured."""
        note = None if self._live is None else self._live.add_call
        counting = recorder if self._metrics is None else self._metrics.count_calls(recorder, note)
        return counting if self._span is None else self._span.record_calls(counting)

    def note_answer(self, trace: Trace, finish_reason: str | None) -> None:
        """Note a method's answer."""
        add_log_fields(self._scope, choice=trace.choice, calls=trace.calls, cost=trace.cost)
        if self._metrics is not None:
            self._metrics.count_answer(trace)
        if self._span is not None:
            self._span.describe_answer(trace, finish_reason)

    def end(self, status: int | None, first_piece: float | None, tenant: str | None) -> None:
        """End the request.

        Args:
            status: of the response; None where the caller left before there was one.
            first_piece: when that of a stream was written, on the clock of `monotonic()`.
            tenant: whose key the request had.
        """
        first: float | None = None if first_piece is None else round(first_piece - self._arrived, 4)
        fields: dict[str, Any] = {"model": self._model, "first_token": first, "tenant": tenant}
        add_log_fields(self._scope, **fields)
        if self._metrics is not None and status is not None:
            self._metrics.count_request(self._path, self._model, status, monotonic() - self._arrived, first)
        if self._live is not None:
            self._live.end(status, first)
        if self._span is not None:
            self._span.end(status, first)


UNMETERED = RequestMeter({"path": ""})
"""Measures nothing."""
