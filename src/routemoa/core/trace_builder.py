"""Folds the events of a method into the trace of its answer."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from routemoa.core import events as t
from routemoa.core.events import Event
from routemoa.core.failure_kind import FailureKind
from routemoa.core.trace import Answer, Failure, Layer, Proposal, Trace
from routemoa.core.types import Query
from routemoa.core.usage import Usage, add_optional

__all__ = ["REPORTED_COST", "TraceBuilder", "fold_events"]

REPORTED_COST = "the endpoint's own figure"
"""Where the price of a model comes from whose endpoint reports what a call costs."""


class TraceBuilder:
    """Takes events one by one; `trace` and `text` are their fold so far."""

    def __init__(self) -> None:
        self._trace = Trace(Query(()), "")
        self._changes: dict[str, object] = {}  # of the trace, since it was last read
        self._pieces: list[str] = []
        self._thoughts: list[str] = []
        self._layers: list[Layer] = []
        self._usage, self._cost, self._calls = self._trace.usage, self._trace.cost, self._trace.calls

    @property
    def trace(self) -> Trace:
        """The trace so far."""
        if self._changes:
            self._trace, self._changes = replace(self._trace, **self._changes), {}
        return self._trace

    @property
    def text(self) -> str:
        """The final answer so far."""
        return "".join(self._pieces)

    @property
    def thought(self) -> str:
        """The thoughts of the model whose answer is shown, so far; they are no part of it."""
        return "".join(self._thoughts)

    @property
    def answer(self) -> Answer:
        """The final answer so far, with the trace."""
        return Answer(self.text, self.trace)

    def add(self, event: Event) -> None:
        """Fold one event in."""
        match event:
            case t.ProposalDelta():  # the most frequent event; it is a part of the proposal that follows
                pass
            case t.Started():
                self._update(query=event.query, method=event.method, seed=event.seed, prices=event.prices)
            case t.Scored():
                self._update(prior=event.prior, ranking=event.ranking)
            case t.Selected():
                self._layers.append(Layer(selected=event.models, why=event.why))
                self._update_layers()
            case t.Skipped():
                self._update(skipped=(*self.trace.skipped, event.skip))
            case t.ProposalStarted() | t.AggregatorStarted() | t.CallStarted():
                self._start_call(event)
            case t.ProposalFinished():
                layer = self._layers[event.layer - 1]
                self._update_layer(event.layer, proposals=(*layer.proposals, event.proposal))
                self._count(event.proposal)
            case t.ProposalFailed():
                layer = self._layers[event.layer - 1]
                self._update_layer(event.layer, failures=(*layer.failures, event.failure))
                self._count(event.failure)
            case t.Judged():
                layer = self._layers[event.layer - 1]
                self._update_layer(event.layer, assessments=(*layer.assessments, *event.assessments))
            case t.Compared():
                self._update(comparisons=(*self.trace.comparisons, event.comparison))
            case t.CodeCompared():
                self._update_layer(event.layer, agreement=event.agreement)
            case t.Reranked():
                self._update_layer(event.layer, scores=event.scores, ranking=event.ranking)
            case t.Stopped():
                self._update(stop_reason=event.reason, choice=event.choice, routes_not_taken=event.routes_not_taken)
            case t.CallFinished() | t.AggregatorFailed():
                self._end_separate_call(event)
            case t.Degraded():
                not_made = event.given_up.what == "hedge"  # it had been announced
                self._update(given_up=(*self.trace.given_up, event.given_up))
                self._count_calls(-not_made)
            case _:
                self._add_to_answer(event)

    def _add_to_answer(self, event: Event) -> None:
        """Fold in an event of the final answer."""
        match event:
            case t.AnswerDelta():
                self._pieces.append(event.text)
            case t.AnswerThought():
                self._thoughts.append(event.text)
            case t.AnswerReplaced():
                self._pieces.clear()
                self._thoughts.clear()
            case t.Done():
                ending = {"finish_reason": event.finish_reason, "refusal": event.refusal}
                self._update(latency=event.latency, charged=event.charged, tool_calls=event.tool_calls, **ending)
                if event.usage is not None:
                    self._add_usage(event.usage, event.cost)
                    if event.usage.reported_cost is not None and self.trace.aggregator:
                        self._note_reported_cost(self.trace.aggregator)

    def _start_call(self, event: t.ProposalStarted | t.AggregatorStarted | t.CallStarted) -> None:
        self._count_calls(1)
        if isinstance(event, t.AggregatorStarted):
            self._update(aggregator=event.model)
        elif isinstance(event, t.ProposalStarted) and event.quoted:
            quoted = self._layers[event.layer - 1].quoted | {event.model: event.quoted}
            self._update_layer(event.layer, quoted=quoted)

    def _end_separate_call(self, event: t.CallFinished | t.AggregatorFailed) -> None:
        """End a call that belongs to no layer."""
        if isinstance(event, t.AggregatorFailed):
            if not event.kept:
                self._pieces.clear()
                self._thoughts.clear()
                self._update(aggregator=None)
        elif event.reply:
            self._count(event.reply)
        if event.failure:
            self._update(failures=(*self.trace.failures, event.failure))
            self._count(event.failure)

    def _count(self, call: Proposal | Failure) -> None:
        """Add the usage and the cost of a call that has ended.

        A call that broke before anything of an answer came adds nothing, as its endpoint reported nothing. What it can
        have cost at most is in `charged`.
        """
        if isinstance(call, Failure) and call.kind is FailureKind.UNAFFORDABLE:
            self._count_calls(-1)  # it was not made
        if isinstance(call, Failure) and call.unanswered:
            return
        self._add_usage(call.usage, call.cost)
        if call.usage.reported_cost is not None:
            self._note_reported_cost(call.model)

    def _note_reported_cost(self, model: str) -> None:
        if self.trace.prices.get(model) != REPORTED_COST:
            self._update(prices={**self.trace.prices, model: REPORTED_COST})

    def _count_calls(self, number: int) -> None:
        self._calls += number
        self._update(calls=self._calls)

    def _add_usage(self, usage: Usage, cost: float | None) -> None:
        self._usage, self._cost = self._usage + usage, add_optional(self._cost, cost)
        self._update(usage=self._usage, cost=self._cost)

    def _update(self, **changes: object) -> None:
        self._changes |= changes

    def _update_layer(self, number: int, **changes: object) -> None:
        self._layers[number - 1] = replace(self._layers[number - 1], **changes)
        self._update_layers()

    def _update_layers(self) -> None:
        self._update(layers=tuple(self._layers))


def fold_events(events: Iterable[Event]) -> Answer:
    """Fold the events of a method into its answer."""
    builder = TraceBuilder()
    for event in events:
        builder.add(event)
    return builder.answer
