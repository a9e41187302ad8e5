"""The trace is the fold of the events, and is the same after JSON."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.core import events as t
from routemoa.core.events import AnyEvent, Event
from routemoa.core.failure_kind import FailureKind
from routemoa.core.trace import Answer, Assessment, Failure, Proposal, RankedModel, Trace
from routemoa.core.trace_builder import TraceBuilder, fold_events
from routemoa.core.types import Message, Query, from_json, to_json
from routemoa.core.usage import Usage, add_optional

maybe_int = st.none() | st.integers(0, 10**6)
maybe = st.none() | st.floats(0, 1e6)
score = st.none() | st.floats(0, 1)
name = st.sampled_from("abc")
usage = st.builds(Usage, maybe_int, maybe_int)
proposal = st.builds(Proposal, name, st.text(), usage, maybe, maybe)
failure = st.builds(Failure, name, st.text(), st.just(FailureKind.HTTP_ERROR), usage, maybe, maybe)
ranking = st.lists(st.builds(RankedModel, name, st.floats(0, 1), maybe, maybe, st.text()), max_size=3).map(tuple)
scores = st.dictionaries(name, score)
assessment = st.builds(Assessment, name, name, st.sampled_from(["self", "cross"]), score)
query = st.builds(Query, st.lists(st.builds(Message, st.just("user"), st.text()), max_size=3).map(tuple))


@st.composite
def runs(draw: st.DrawFn) -> list[Event]:
    events: list[Event] = [t.Started(draw(query), "routemoa"), t.Scored(draw(scores), draw(ranking))]
    for number in range(1, draw(st.integers(1, 3)) + 1):
        events.append(t.Selected(number, ("a", "b")))
        inside = st.one_of(
            st.builds(t.ProposalStarted, st.just(number), name),
            st.builds(t.ProposalDelta, st.just(number), name, st.text()),
            st.builds(t.ProposalFinished, st.just(number), proposal),
            st.builds(t.ProposalFailed, st.just(number), failure),
            st.builds(t.Judged, st.just(number), st.lists(assessment, max_size=2).map(tuple)),
        )
        events += draw(st.lists(inside, max_size=4))
        events.append(t.Reranked(number, draw(scores), draw(ranking)))
    events.append(t.Stopped(draw(st.text())))
    if draw(st.booleans()):
        events += [t.AggregatorStarted("a"), t.AnswerDelta("lost"), t.AggregatorFailed(draw(failure))]
    events += [t.AnswerDelta(draw(st.text())), t.Done(1.5, draw(st.none() | usage), draw(maybe), "stop")]
    return events


@given(runs())
def test_events_and_trace_survive_json(events: list[Event]) -> None:
    assert [from_json(to_json(e), AnyEvent) for e in events] == events  # type: ignore[arg-type]
    answer = fold_events(events)
    again = from_json(to_json(answer), Answer)
    assert again == answer
    assert to_json(again) == to_json(answer)


@given(runs())
def test_the_sums_are_those_of_the_parts(events: list[Event]) -> None:
    trace = fold_events(events).trace
    parts: list[Proposal | Failure | t.Done] = []
    for e in events:
        if isinstance(e, t.ProposalFinished):
            parts.append(e.proposal)
        elif isinstance(e, t.ProposalFailed | t.AggregatorFailed):
            parts.append(e.failure)
        elif isinstance(e, t.Done) and e.usage is not None:
            parts.append(e)
    used = [p.usage for p in parts if p.usage is not None]
    assert trace.usage == sum(used, Usage(0, 0, 0, 0))
    costs = [p.cost for p in parts]
    assert trace.cost == (None if None in costs else sum(c for c in costs if c is not None))
    assert trace.calls == sum(isinstance(e, t.ProposalStarted | t.AggregatorStarted) for e in events)


@given(runs())
def test_folding_step_by_step_is_folding_at_once(events: list[Event]) -> None:
    so_far = TraceBuilder()
    for e in events:
        so_far.add(e)
    assert so_far.answer == fold_events(events)


def test_a_failed_aggregators_text_is_void() -> None:
    lost = Failure("a", "cut", FailureKind.INVALID_RESPONSE, Usage(), 1.0, None)
    answer = fold_events(
        [t.AggregatorStarted("a"), t.AnswerDelta("lo"), t.AggregatorFailed(lost), t.AnswerDelta("kept")]
    )
    assert answer.text == "kept"
    assert answer.trace.aggregator is None
    assert answer.trace.failures == (lost,)
    assert answer.trace.usage == Usage(None, None)
    assert answer.trace.cost is None


def test_missing_stays_missing_in_sums() -> None:
    assert Usage(1, 2) + Usage(3, None) == Usage(4, None)
    assert add_optional(0.0, None) is None
    assert add_optional(None, 1) is None


def test_the_text_a_scorer_reads() -> None:
    m = Message
    talk = Query((m("system", "S"), m("user", "first"), m("assistant", "A"), m("user", "last")))
    assert talk.text == "first\n\nlast"
    assert Query.from_text("just this").text == "just this"
    assert Query.from_text("just this", "Be brief.").text == "just this"
    assert Query((m("system", "Greet me."), m("user", ""))).text == "Greet me.\n\n"
    assert Query(()).text == ""


def test_a_trace_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="query"):
        from_json(b"{}", Trace)
