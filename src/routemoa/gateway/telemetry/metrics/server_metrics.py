"""Counts what a server does. The labels are names of the pool and of our own: callers cannot add to their number."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.process_collector import ProcessCollector

from routemoa.core.protocols import CallRecorder, CallResult, CallStart
from routemoa.core.trace import Trace
from routemoa.gateway.call_observer import CallObserver
from routemoa.gateway.telemetry.drift_watch import DriftWatch
from routemoa.gateway.telemetry.metrics.quick_metrics import QuickCounter, QuickHistogram
from routemoa.judging.answers.grouping import all_agree
from routemoa.routing.decision import latest_answers

__all__ = ["NO_MODEL", "ServerMetrics"]

SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0)
"""Upper bounds of the buckets of an answer's seconds."""
FIRST_TOKEN_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0)
CALLS = (1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 40)
NO_MODEL = "unknown"
"""The label of a request that names no model of ours."""


class ServerMetrics:
    """What a server has done since its start."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        """The methods and members that a request may name."""
        self.registry = registry = CollectorRegistry()
        self.process = ProcessCollector(registry=registry)
        self._define_request_metrics(registry)
        self._define_call_metrics(registry)
        self._define_choice_metrics(registry)
        self.reloads = Counter(
            "routemoa_pool_reloads", "Readings of a changed pool file: ok, or refused.", ["outcome"], registry=registry
        )
        self.refused = Counter("routemoa_requests_refused", "Requests refused by overload.", registry=registry)
        self.unrecorded = Counter(
            "routemoa_calls_unrecorded", "Calls made while the ledger could not be written.", registry=registry
        )
        self.drift = DriftWatch(registry)
        self.panel_calls = Histogram(
            "routemoa_panel_calls", "Calls that one answer took.", ["method"], buckets=CALLS, registry=registry
        )
        for metric in (self.requests, self.request_seconds, self.calls, self.call_seconds, self.tokens, self.cost):
            metric.labels = cache(metric.labels)  # type: ignore[assignment, method-assign]  # each request asks for seven children

    def _define_request_metrics(self, registry: CollectorRegistry) -> None:
        self.requests = QuickCounter(
            "routemoa_requests",
            "Requests that were answered or refused.",
            ["path", "model", "status"],
            registry=registry,
        )
        self.request_seconds = QuickHistogram(
            "routemoa_request_seconds",
            "Seconds from a request's arrival to the end of its response.",
            ["model"],
            buckets=SECONDS,
            registry=registry,
        )
        self.first_token_seconds = QuickHistogram(
            "routemoa_first_token_seconds",
            "Seconds from a request's arrival to the first piece of a streamed answer.",
            ["model"],
            buckets=FIRST_TOKEN_SECONDS,
            registry=registry,
        )

    def _define_call_metrics(self, registry: CollectorRegistry) -> None:
        self.calls = QuickCounter(
            "routemoa_calls", "Calls to members that have ended.", ["model", "purpose", "outcome"], registry=registry
        )
        self.call_seconds = QuickHistogram(
            "routemoa_call_seconds", "Seconds that a call took.", ["model"], buckets=SECONDS, registry=registry
        )
        self.tokens = QuickCounter(
            "routemoa_tokens",
            "Tokens that endpoints reported; cached ones are among the prompt's, reasoning among the completion's.",
            ["model", "kind"],
            registry=registry,
        )
        self.cost = QuickCounter(
            "routemoa_cost_dollars", "Dollars of calls of known cost.", ["model"], registry=registry
        )
        self.unknown_cost = Counter(
            "routemoa_calls_of_unknown_cost", "Calls whose price or usage is not known.", ["model"], registry=registry
        )

    def _define_choice_metrics(self, registry: CollectorRegistry) -> None:
        self.choices = Counter(
            "routemoa_choices",
            "Answers of the mixture, by the member that was chosen.",
            ["method", "model"],
            registry=registry,
        )
        self.panels = Counter(
            "routemoa_panels",
            "Answers of the mixture by its members' agreement: one (a single member was asked), agreed or differed.",
            ["method", "agreement"],
            registry=registry,
        )

    def add_names(self, names: Collection[str]) -> None:
        """Add methods and members that a request may name from now on."""
        self._names.update(names)

    def find_name(self, model: str | None) -> str:
        """Return what a request names; a fixed word where that is none of ours, as callers may write what they like."""
        return model if model in self._names else NO_MODEL

    def count_calls(
        self, recorder: CallRecorder | None, note: Callable[[CallResult], None] | None = None
    ) -> CallRecorder:
        """Return a recorder that counts the calls of a request, and passes them on; `note` hears how each ended."""

        def end(call: CallStart, result: CallResult) -> None:
            self.count_call(call, result)
            if note is not None:
                note(result)

        return CallObserver(recorder, lambda call: call, end)

    def count_request(self, path: str, model: str | None, status: int, seconds: float, first: float | None) -> None:
        """Count a response: seconds to its end and, of a stream, to its first piece."""
        name = self.find_name(model)
        self.requests.labels(path, name, str(status)).inc(1)
        if status < 400:
            self.request_seconds.labels(name).observe(seconds)
            if first is not None:
                self.first_token_seconds.labels(name).observe(first)

    def count_answer(self, trace: Trace) -> None:
        """Count a method's answer: which member was chosen, and whether its panel agreed."""
        self.drift.observe(trace)
        answers = latest_answers(trace)
        if not answers:
            return
        agreement = _describe_agreement([a.text for a in answers])
        self.panels.labels(trace.method, agreement).inc()
        self.panel_calls.labels(trace.method).observe(trace.calls)
        if trace.choice is not None:
            self.choices.labels(trace.method, trace.choice).inc()

    def count_call(self, call: CallStart, result: CallResult) -> None:
        """Count a call that has ended; what is not known is not counted as 0."""
        self.calls.labels(call.model, call.purpose, result.outcome).inc(1)
        self.call_seconds.labels(call.model).observe(result.seconds)
        usage = result.usage
        counted = {
            "prompt": usage.prompt_tokens,
            "completion": usage.completion_tokens,
            "cached": usage.cached_tokens,
            "reasoning": usage.reasoning_tokens,
        }
        for kind, tokens in counted.items():
            if tokens:
                self.tokens.labels(call.model, kind).inc(tokens)
        if result.cost is None:
            self.unknown_cost.labels(call.model).inc()
        elif result.cost > 0:
            self.cost.labels(call.model).inc(result.cost)


def _describe_agreement(texts: Sequence[str]) -> str:
    if len(texts) == 1:
        return "one"
    return "agreed" if all_agree(texts) else "differed"
