"""Notices that members have changed, from the answers as they come: in the log, `/healthz?verbose` and `/metrics`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter

from routemoa.core.trace import Trace
from routemoa.core.types import ModelSpec
from routemoa.routing.call_drift import CallDriftDetector, list_calls

__all__ = ["DriftWatch"]

LOG = logging.getLogger("routemoa.drift")


class DriftWatch:
    """What has changed since the start, in the calls that methods make and, where the server learns, in quality.

    Args:
        registry: of the metrics.
        clock: seconds since the epoch.
    """

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time.time) -> None:
        self._detector, self._clock = CallDriftDetector(), clock
        self._models: Mapping[str, ModelSpec] = {}
        self._latest: dict[str, dict[str, str]] = {}
        self._counter = Counter(
            "routemoa_drifts",
            "Changes of members that were noticed: slower, faster, refusals, price or quality.",
            ["model", "kind"],
            registry=registry,
        )

    def set_models(self, models: Iterable[ModelSpec]) -> None:
        """Take over the members, whose prices bills are compared with."""
        self._models = {m.name: m for m in models}

    def observe(self, trace: Trace) -> None:
        """Take an answer's trace; never waits."""
        called = {p.model for layer in trace.layers for p in layer.proposals}
        prices = {name: self._models[name].price for name in called if name in self._models}
        for call in list_calls(trace, self._clock(), prices):
            for drift in self._detector.add(call):
                self.note(drift.model, drift.kind, str(drift))
                LOG.warning("drift: %s", drift)

    def note(self, model: str, kind: str, text: str) -> None:
        """Keep a change for `/healthz?verbose` and count it."""
        self._latest.setdefault(model, {})[kind] = text
        self._counter.labels(model, kind).inc()

    def describe(self, model: str) -> dict[str, str]:
        """Return the latest change of a member of each kind; empty where there was none."""
        return dict(self._latest.get(model, {}))
