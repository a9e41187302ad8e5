"""Spans of real requests: their tree, their attributes, and the trace context that goes in and out."""

from __future__ import annotations

import asyncio
import http.server
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from routemoa.core.pool_file.pool import Pool
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.types import ModelSpec
from routemoa.gateway.telemetry.tracing import RequestTracer, start_tracing
from routemoa.testing import FakeEndpoint, Fault
from tests.gateway.harness import HI, Serving, serving

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}


@pytest.fixture
def exported() -> Iterator[tuple[RequestTracer, InMemorySpanExporter]]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield RequestTracer(provider), exporter
    provider.shutdown()


Exported = tuple[RequestTracer, InMemorySpanExporter]


def pool_of(url: str, **mixture: Any) -> Pool:
    specs = (ModelSpec(n, url, f"up-{n}", prior=0.6, input_price=1.0, output_price=1.0) for n in "ab")
    return Pool(tuple(specs), Mixture(**mixture))


def parent(span: ReadableSpan, spans: tuple[ReadableSpan, ...]) -> str | None:
    """The name of the span that a span is in; None where it is another service's."""
    assert span.parent is not None
    return next((s.name for s in spans if s.context and span.parent.span_id == s.context.span_id), None)


async def ask(served: Serving, model: str, **more: Any) -> int:
    return (await (await served.raw({"model": model, "messages": HI, **more}, headers=PARENT)).whole()).status


async def test_a_mixture_is_a_tree_of_spans_in_the_callers_trace(exported: Exported) -> None:
    tracer, exporter = exported
    reply = 'The answer is 4.\n<assessment>{"self": 0.9, "scores": {}}</assessment>'
    async with FakeEndpoint(reply) as upstream:
        pool = pool_of(upstream.url, fusion="published-small", layers=1)
        async with serving(pool=pool, tracer=tracer) as served:
            assert await ask(served, "routemoa") == 200
            sent = [r["traceparent"] for r in upstream.headers]
    spans = exporter.get_finished_spans()
    tree = {(s.name, parent(s, spans)) for s in spans}
    assert tree >= {("chat routemoa", None), ("layer 1", "chat routemoa"), ("chat a", "layer 1"), ("chat b", "layer 1")}
    assert ("assess by a", "layer 1") in tree
    assert {f"{s.context.trace_id:032x}" for s in spans if s.context} == {TRACE}
    calls = {f"{s.context.span_id:016x}" for s in spans if s.context and s.name in ("chat a", "chat b")}
    assert {re.split("-", header)[2] for header in sent} == calls
    assert all(header.startswith(f"00-{TRACE}-") for header in sent)
    root = next(s for s in spans if s.name == "chat routemoa")
    about = dict(root.attributes or {})
    assert about["gen_ai.operation.name"] == "chat"
    assert about["gen_ai.request.model"] == "routemoa"
    assert about["gen_ai.response.model"] in ("a", "b")
    assert about["gen_ai.response.finish_reasons"] == ("stop",)
    assert about["http.response.status_code"] == 200
    assert about["routemoa.calls"] == 2
    called = next(dict(s.attributes or {}) for s in spans if s.name == "chat a")
    assert int(str(called["gen_ai.usage.input_tokens"])) > 0
    assert "4." not in str([dict(s.attributes or {}) for s in spans]), "no text of an answer"


async def test_a_member_that_is_passed_through_and_its_failure(exported: Exported) -> None:
    tracer, exporter = exported
    endpoint = FakeEndpoint("x", Fault(status=500))
    async with endpoint as upstream, serving(pool=pool_of(upstream.url), tracer=tracer) as served:
        assert await ask(served, "a") == 500
    spans = exporter.get_finished_spans()
    calls = [s for s in spans if s.name == "chat a" and parent(s, spans) == "chat a"]
    assert calls
    assert all(s.status.status_code is StatusCode.ERROR for s in calls)
    [root] = [s for s in spans if parent(s, spans) is None]
    assert dict(root.attributes or {})["error.type"] == "500"


async def test_callers_cannot_add_to_the_names_of_spans(exported: Exported) -> None:
    tracer, exporter = exported
    async with FakeEndpoint("x") as upstream, serving(pool=pool_of(upstream.url), tracer=tracer) as served:
        for word in ("a-guess", "b" * 9000):
            assert await ask(served, word) == 404
    spans = exporter.get_finished_spans()
    assert {s.name for s in spans} == {"chat unknown"}
    assert [dict(s.attributes or {})["gen_ai.request.model"] for s in spans] == ["a-guess", "b" * 256]


async def test_a_stream_says_when_its_first_piece_came(exported: Exported) -> None:
    tracer, exporter = exported
    endpoint = FakeEndpoint("The answer is 4.", Fault(first_byte=0.1))
    async with endpoint as upstream, serving(pool=pool_of(upstream.url), tracer=tracer) as served:
        assert await ask(served, "routemoa", stream=True) == 200
    [root] = [s for s in exporter.get_finished_spans() if s.name == "chat routemoa"]
    assert 0.1 <= float(str(dict(root.attributes or {})["gen_ai.response.time_to_first_chunk"])) < 3


async def test_requests_side_by_side_keep_their_own_context(exported: Exported) -> None:
    tracer, exporter = exported
    endpoint = FakeEndpoint("The answer is 4.", Fault(first_byte=0.02))
    async with endpoint as upstream, serving(pool=pool_of(upstream.url), tracer=tracer) as served:
        ids = [f"{n:032x}" for n in range(1, 11)]

        async def one(trace: str) -> None:
            headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
            await (await served.raw({"model": "routemoa", "messages": HI}, headers=headers)).whole()

        await asyncio.gather(*map(one, ids))
        sent = {r["traceparent"].split("-")[1] for r in upstream.headers}
    assert sent == set(ids)
    assert {f"{s.context.trace_id:032x}" for s in exporter.get_finished_spans() if s.context} == set(ids)


async def test_spans_are_exported_over_http(monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[bytes] = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    collector = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    tracer, end = start_tracing()
    endpoint = FakeEndpoint("The answer is 4.")
    async with endpoint as upstream, serving(pool=pool_of(upstream.url), tracer=tracer) as served:
        await ask(served, "a")
    await asyncio.to_thread(end)
    collector.shutdown()
    collector.server_close()
    found = [ExportTraceServiceRequest.FromString(data) for data in received]
    resources = [r for one in found for r in one.resource_spans]
    names = [s.name for r in resources for scope in r.scope_spans for s in scope.spans]
    assert sorted(names) == ["chat a", "chat a"]
    service = {a.key: a.value.string_value for a in resources[0].resource.attributes}
    assert service["service.name"] == "routemoa"
