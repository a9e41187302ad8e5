"""Starts the export of spans, as the standard environment variables of OpenTelemetry say."""

from __future__ import annotations

from collections.abc import Callable

from routemoa import __version__
from routemoa.core.errors import MissingExtra
from routemoa.gateway.telemetry.tracing.spans import RequestTracer

__all__ = ["start_tracing"]


def start_tracing() -> tuple[RequestTracer, Callable[[], None]]:
    """Return what makes spans, and what ends the export and sends the rest.

    The address is OTEL_EXPORTER_OTLP_ENDPOINT (http://localhost:4318 by default), the name OTEL_SERVICE_NAME
    ("routemoa"), the share of requests OTEL_TRACES_SAMPLER with OTEL_TRACES_SAMPLER_ARG, and so on.

    Raises:
        MissingExtra: the extra is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as e:
        raise MissingExtra("OpenTelemetry", "otel") from e
    named = Resource({"service.name": "routemoa", "service.version": __version__})
    provider = TracerProvider(resource=named.merge(OTELResourceDetector().detect()))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return RequestTracer(provider), provider.shutdown
