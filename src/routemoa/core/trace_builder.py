"""The trace of an answer is the fold of the events that led to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from msgspec.structs import replace

from routemoa.core import events as t
from routemoa.core.errors import FailureKind
from routemoa.core.events import Event
from routemoa.core.trace import Answer, Failure, Layer, Proposal, Trace
from routemoa.core.types import Query, add_optional

__all__ = ["TraceBuilder", "collect_answer", "fold_events"]


class TraceBuilder:
    """Takes events one by one; `trace` and `text` hold what they amount to so far."""

    def __init__(self) -> None:
        self.trace = Trace(Query(()), "")
        self._pieces: list[str] = []
        self._layers: list[Layer] = []

    @property
    def text(self) -> str:
        """The final answer so far."""
        return "".join(self._pieces)

    @property
    def answer(self) -> Answer:
        """Text and trace."""
        return Answer(self.text, self.trace)

    def add(self, event: Event) -> None:
        """Fold one event in."""
        match event:
            case t.Started():
                self._set(query=event.query, method=event.method, seed=event.seed, prices=event.prices)
            case t.Scored():
                self._set(prior=event.prior, ranking=event.ranking)
            case t.Selected():
                self._layers.append(Layer(selected=event.models, why=event.why))
                self._set(layers=tuple(self._layers))
            case t.ProposalStarted() | t.AggregatorStarted() | t.CallStarted():
                self._set(calls=self.trace.calls + 1)
                if isinstance(event, t.AggregatorStarted):
                    self._set(aggregator=event.model)
                elif isinstance(event, t.ProposalStarted) and event.quoted:
                    quoted = self._layers[event.layer - 1].quoted | {event.model: event.quoted}
                    self._layer(event.layer, quoted=quoted)
            case t.ProposalFinished():
                layer = self._layers[event.layer - 1]
                self._layer(event.layer, proposals=(*layer.proposals, event.proposal))
                self._spend(event.proposal)
            case t.ProposalFailed():
                layer = self._layers[event.layer - 1]
                self._layer(event.layer, failures=(*layer.failures, event.failure))
                self._spend(event.failure)
            case t.Judged():
                layer = self._layers[event.layer - 1]
                self._layer(event.layer, assessments=(*layer.assessments, *event.assessments))
            case t.Reranked():
                self._layer(event.layer, scores=event.scores, ranking=event.ranking)
            case t.Stopped():
                self._set(stop_reason=event.reason, choice=event.choice, routes_not_taken=event.routes_not_taken)
            case t.CallFinished() | t.AggregatorFailed():
                self._end_separate_call(event)
            case t.Degraded():
                not_made = event.given_up.what == "hedge"  # it had been announced
                self._set(given_up=(*self.trace.given_up, event.given_up), calls=self.trace.calls - not_made)
            case _:
                self._final(event)

    def _final(self, event: Event) -> None:
        """What belongs to the final answer."""
        match event:
            case t.AnswerDelta():
                self._pieces.append(event.text)
            case t.AnswerReplaced():
                self._pieces.clear()
            case t.Done():
                self._set(latency=event.latency, charged=event.charged)
                if event.usage is not None:
                    self._set(usage=self.trace.usage + event.usage, cost=add_optional(self.trace.cost, event.cost))
            case _:  # a ProposalDelta is part of the proposal that follows
                pass

    def _set(self, **changes: object) -> None:
        self.trace = replace(self.trace, **changes)

    def _layer(self, number: int, **changes: object) -> None:
        self._layers[number - 1] = replace(self._layers[number - 1], **changes)
        self._set(layers=tuple(self._layers))

    def _end_separate_call(self, event: t.CallFinished | t.AggregatorFailed) -> None:
        """The end of a call that belongs to no layer."""
        if isinstance(event, t.AggregatorFailed):
            self._pieces.clear()
            self._set(aggregator=None)
        elif event.reply:
            self._spend(event.reply)
        if event.failure:
            self._set(failures=(*self.trace.failures, event.failure))
            self._spend(event.failure)

    def _spend(self, call: Proposal | Failure) -> None:
        if isinstance(call, Failure) and call.kind is FailureKind.UNAFFORDABLE:
            self._set(calls=self.trace.calls - 1)  # it was not made
        self._set(usage=self.trace.usage + call.usage, cost=add_optional(self.trace.cost, call.cost))


def fold_events(events: Iterable[Event]) -> Answer:
    """The answer that `events` amount to."""
    folded = TraceBuilder()
    for event in events:
        folded.add(event)
    return folded.answer


async def collect_answer(events: AsyncIterator[Event]) -> Answer:
    """Run a method's events to their end and fold them."""
    folded = TraceBuilder()
    async for event in events:
        folded.add(event)
    return folded.answer
