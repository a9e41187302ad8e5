"""OpenTelemetry: a span for each request, layer, call and judgment, by the conventions for generative AI."""

from routemoa.gateway.telemetry.tracing.spans import RequestSpan, RequestTracer
from routemoa.gateway.telemetry.tracing.start import start_tracing

__all__ = ["RequestSpan", "RequestTracer", "start_tracing"]
