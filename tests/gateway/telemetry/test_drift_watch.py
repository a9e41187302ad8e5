"""A member whose calls change is in the log, the metrics and the health of the server."""

from __future__ import annotations

import logging

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from routemoa.core.trace import Layer, Proposal, Trace
from routemoa.core.types import ModelSpec, Query
from routemoa.core.usage import Usage
from routemoa.gateway.telemetry.drift_watch import DriftWatch


def test_a_bill_above_the_price_is_logged_counted_and_shown(caplog: pytest.LogCaptureFixture) -> None:
    registry = CollectorRegistry()
    watch = DriftWatch(registry, clock=lambda: 5.0)
    watch.set_models([ModelSpec("a", "http://x/v1", input_price=1.0, output_price=10.0)])
    proposal = Proposal("a", "4", Usage(1000, 150, reported_cost=0.005), 1.0, 0.005)
    stranger = Proposal("gone", "4", Usage(1000, 150, reported_cost=0.005), 1.0, 0.005)
    trace = Trace(Query.from_text("2+2?"), "routemoa", layers=(Layer(proposals=(proposal, stranger)),))
    with caplog.at_level(logging.WARNING):
        for _ in range(20):
            watch.observe(trace)
    assert watch.describe("a") == {"price": "a is billed 2.00 times the pool's price, 1.00 before (8 calls)"}
    assert watch.describe("gone") == {}
    assert b'routemoa_drifts_total{kind="price",model="a"} 1.0' in generate_latest(registry)
    assert caplog.messages == ["drift: a is billed 2.00 times the pool's price, 1.00 before (8 calls)"]
