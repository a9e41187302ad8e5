"""Makes the spans of a request. The trace context of the caller is continued, and that of each call is sent along.

    chat routemoa (server)
      layer 1
        chat a (client)            one for each attempt of a call
        chat b (client)
        assess by a              one for each judge of the layer

No span holds a text of a request or of an answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from routemoa.clients.transport.trace_context import set_trace_headers
from routemoa.core.events import Compared, Event, Judged, Reranked, Selected, Stopped
from routemoa.core.protocols import CallRecorder, CallResult, CallStart
from routemoa.core.trace import Trace
from routemoa.core.usage import Usage
from routemoa.gateway.call_observer import CallObserver

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer, TracerProvider

__all__ = ["RequestSpan", "RequestTracer"]

OPERATIONS = {"/v1/embeddings": "embeddings", "/v1/completions": "text_completion"}
"""Path -> the operation by OpenTelemetry's name; all others are chat."""
FAILED_STATUS = 500
"""From here on a response is an error of ours."""
MAX_WORD = 256
"""Characters of a caller's word."""

Attributes = dict[str, Any]


class RequestTracer:
    """Begins the span of each request.

    Args:
        provider: of OpenTelemetry's SDK.
    """

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("routemoa")

    def begin(self, path: str, headers: Iterable[tuple[bytes, bytes]], request_id: str | None) -> RequestSpan:
        """Begin the span of a request, within the trace that its headers name."""
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier = {k.decode("latin-1"): v.decode("latin-1") for k, v in headers if k in (b"traceparent", b"tracestate")}
        parent = TraceContextTextMapPropagator().extract(carrier)
        operation = OPERATIONS.get(path, "chat")
        about = {"gen_ai.operation.name": operation, "url.path": path, "http.request.method": "POST"}
        about |= {} if request_id is None else {"routemoa.request_id": request_id}
        span = self._tracer.start_span(operation, parent, SpanKind.SERVER, about)
        return RequestSpan(self._tracer, span, operation)


class RequestSpan:
    """The span of one request, and those within it."""

    def __init__(self, tracer: Tracer, span: Span, operation: str) -> None:
        self._tracer, self._span, self._operation = tracer, span, operation
        self._layer: Span | None = None
        self._layers = 0

    def name_model(self, name: str, model: str) -> None:
        """Note the method or member that the request names.

        Args:
            name: of the few that there are: what collects spans keeps a series of each.
            model: the caller's word.
        """
        self._span.update_name(f"{self._operation} {name}")
        self._span.set_attribute("gen_ai.request.model", model[:MAX_WORD])

    def record_calls(self, recorder: CallRecorder | None) -> CallRecorder:
        """Return a recorder that makes a span of each call, and passes it on."""
        return _TracingRecorder(self, recorder)

    def observe(self, event: Event) -> None:
        """Follow a method: its layers and its judgments."""
        match event:
            case Selected():
                self._end_layer()
                self._layers += 1
                about = {"routemoa.layer": self._layers, "routemoa.models": list(event.models)}
                self._layer = self._begin(f"layer {self._layers}", about)
            case Judged():
                for judge in dict.fromkeys(a.judge for a in event.assessments):
                    judged = {a.subject: a.value for a in event.assessments if a.judge == judge}
                    scores = {f"routemoa.assessment.{name}": v for name, v in judged.items() if v is not None}
                    self._begin(f"assess by {judge}", {"routemoa.judge": judge, **scores}).end()
            case Compared():
                self._begin("compare answers", {}).end()
            case Reranked() | Stopped():
                self._end_layer()
            case _:
                pass

    def describe_answer(self, trace: Trace, finish_reason: str | None) -> None:
        """Note a method's answer."""
        about: Attributes = {
            "gen_ai.response.model": trace.choice,
            "gen_ai.response.finish_reasons": [finish_reason] if finish_reason else None,
            "routemoa.calls": trace.calls,
            "routemoa.cost_dollars": trace.cost,
            "routemoa.stop_reason": trace.stop_reason,
        }
        self._set(self._span, about | _describe_usage(trace.usage))

    def end(self, status: int | None, first_token: float | None) -> None:
        """End all spans; `first_token`: seconds until the first piece of a stream."""
        self._end_layer()
        self._set(
            self._span,
            {"http.response.status_code": status, "gen_ai.response.time_to_first_chunk": first_token},
        )
        if status is None or status >= FAILED_STATUS:
            _mark_failed(self._span, "disconnected" if status is None else str(status))
        self._span.end()

    def begin_call(self, call: CallStart) -> Span:
        """Begin the span of a call, and send its trace context along with it."""
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        about = {
            "gen_ai.operation.name": self._operation,
            "gen_ai.request.model": call.model,
            "routemoa.purpose": call.purpose,
        }
        if call.endpoint is not None:
            about["routemoa.endpoint"] = call.endpoint
        span = self._tracer.start_span(
            f"{self._operation} {call.model}", self._context(self._layer), SpanKind.CLIENT, about
        )
        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier, self._context(span))
        set_trace_headers(carrier)
        return span

    def end_call(self, span: Span, result: CallResult) -> None:
        """End the span of a call."""
        self._set(span, {"routemoa.cost_dollars": result.cost, **_describe_usage(result.usage)})
        if result.outcome != "ok":
            _mark_failed(span, result.outcome)
        span.end()

    def _begin(self, name: str, about: Mapping[str, Any]) -> Span:
        return self._tracer.start_span(name, self._context(self._layer), attributes=about)

    def _context(self, span: Span | None) -> Context:
        from opentelemetry.trace import set_span_in_context

        return set_span_in_context(self._span if span is None else span)

    def _end_layer(self) -> None:
        if self._layer is not None:
            self._layer.end()
            self._layer = None

    def _set(self, span: Span, about: Attributes) -> None:
        span.set_attributes({name: value for name, value in about.items() if value is not None})


class _TracingRecorder(CallObserver["Span"]):
    """Makes a span of each call of one request, and follows the method that makes them."""

    def __init__(self, request: RequestSpan, inner: CallRecorder | None) -> None:
        super().__init__(inner, request.begin_call, request.end_call)
        self.observe = request.observe


def _describe_usage(usage: Usage) -> Attributes:
    return {
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.output_tokens": usage.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
    }


def _mark_failed(span: Span, kind: str) -> None:
    from opentelemetry.trace import StatusCode

    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR)
