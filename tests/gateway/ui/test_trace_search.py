"""What traces are, which of them fit, and which questions are alike."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from routemoa.core.tables.traces_table import TraceSettings
from routemoa.core.trace import Alternative, Answer, Degradation, Layer, Proposal, Trace
from routemoa.core.types import Message, ModelSpec, Query
from routemoa.core.usage import Usage
from routemoa.gateway.errors import HttpError
from routemoa.gateway.traces.trace_facts import FACTS_VERSION, TraceFacts, describe_trace, price_facts, write_facts
from routemoa.gateway.traces.trace_index import TraceIndex
from routemoa.gateway.ui.similar_questions import find_similar
from routemoa.gateway.ui.trace_search import read_filter, search_traces
from routemoa.ledger.trace_store.trace_catalog import open_catalog
from routemoa.ledger.trace_store.traces import Feedback, StoredTrace, TraceStore

MEMBERS = (
    ModelSpec("cheap", "http://x/v1", input_price=1.0, output_price=1.0),
    ModelSpec("dear", "http://x/v1", input_price=10.0, output_price=100.0),
    ModelSpec("unpriced", "http://x/v1"),
)
FACTS = TraceFacts("abc", 1.0, "acme", "routemoa", "cheap", 2, 0.01, 1.0, "What is 2 + 2?", "agreed", False, 0.05, 0.02)
OTHERS = [
    FACTS,
    replace(FACTS, id="def", question="Write a POEM", panel="differed", cost=None, gave_up=True, tenant=None),
    replace(FACTS, id="ghi", choice="dear", cost=0.5, feedback=1, score=0.0, method="moa", at=9.0),
]


def trace(*answers: str, **more: object) -> StoredTrace:
    proposals = tuple(Proposal(f"m{i}", text, Usage(10, 100), 1.0, 0.001) for i, text in enumerate(answers))
    made = Trace(Query((Message("user", "Q" * 500),)), "routemoa", layers=(Layer(proposals=proposals),))
    return StoredTrace("id", 1.0, None, Answer("", replace(made, **more)))


def test_the_panel_is_alone_agrees_or_differs() -> None:
    given = [trace(), trace("4"), trace("The answer is 4.", "4"), trace("The answer is 4.", "The answer is 5.")]
    assert [describe_trace(t).facts.panel for t in given] == [None, "one", "agreed", "differed"]


def test_what_others_would_have_cost_is_an_estimate_or_unknown() -> None:
    routes = (Alternative("best-single", 1, 0.1, None), Alternative("moa", 9, 0.7, None))
    stored = trace("4", routes_not_taken=routes, given_up=(Degradation("models", "why"),))
    facts = price_facts(describe_trace(stored), MEMBERS)
    assert facts.moa_cost == 0.7
    assert facts.costliest_cost == pytest.approx((125 * 10 + 100 * 100) / 1e6)
    assert facts.gave_up
    assert len(facts.question) == 300
    nothing = price_facts(describe_trace(trace()), MEMBERS)
    assert (nothing.moa_cost, nothing.costliest_cost) == (None, None)


@pytest.mark.parametrize(
    ("params", "ids"),
    [
        ({}, "abc def ghi"),
        ({"text": " Poem "}, "def"),
        ({"text": "gh"}, "ghi"),
        ({"key": "-"}, "def"),
        ({"model": "dear"}, "ghi"),
        ({"method": "moa"}, "ghi"),
        ({"panel": "differed"}, "def"),
        ({"gave_up": "1"}, "def"),
        ({"min_cost": "0.02"}, "ghi"),
        ({"feedback": "none"}, "abc def"),
        ({"feedback": "bad"}, "ghi"),
        ({"feedback": "good"}, ""),
        ({"since": "5"}, "ghi"),
        ({"order": "cost"}, "ghi abc def"),
        ({"panel": "agreed", "model": "cheap"}, "abc"),
    ],
)
def test_a_filter_keeps_what_fits(params: dict[str, str], ids: str) -> None:
    assert [f.id for f in search_traces(OTHERS, read_filter(params))] == ids.split()


@pytest.mark.parametrize("params", [{"panel": "x"}, {"min_cost": "nan"}, {"min_cost": "-1"}, {"order": "up"}])
def test_a_filter_that_cannot_be_read_is_refused(params: dict[str, str]) -> None:
    with pytest.raises(HttpError):
        read_filter(params)


def test_rare_words_make_questions_alike() -> None:
    questions = ["What is the capital of France?", "What is the mass of the sun?", "France: its capital, please", ""]
    facts = [replace(FACTS, id=str(i), question=q) for i, q in enumerate([*questions, *["What is the time?"] * 20])]
    found = find_similar("Which is the capital of France", facts, 2)
    assert {f.id for _, f in found} == {"0", "2"}
    assert find_similar("???", facts, 2) == []
    assert find_similar("France", [], 2) == []


def test_the_index_follows_the_store_a_little_at_a_time(tmp_path: Path) -> None:
    clock = [0.0]
    store = TraceStore(tmp_path / "t.db", TraceSettings())
    index = TraceIndex(store, lambda: clock[0])
    assert not index.refresh().facts
    for i in range(50):
        store.add(f"t{i}", trace("4").answer, None)
    store.flush()
    clock[0] += 5
    known = index.refresh(0.0)
    assert 0 < len(known.facts) < 50
    assert len(known.facts) + known.missing == 50
    assert store.add_feedback("t0", None, Feedback(score=1.0))
    while index.refresh(0.0).missing:
        clock[0] += 5
    known = index.refresh()
    assert [f.id for f in known.facts if f.score == 1.0] == ["t0"]
    clock[0] += 5
    assert store.add_feedback("t1", None, Feedback(comment="hm"))
    assert {f.id for f in index.refresh().facts if f.feedback} == {"t0", "t1"}
    assert len(TraceIndex(store).refresh(0.0).facts) == 50, "what was unpacked once is kept"
    store.close()
    assert not TraceIndex(None).refresh().facts


def test_what_is_written_with_a_trace_is_read_at_once_and_priced_by_the_pool_of_now(tmp_path: Path) -> None:
    store = TraceStore(tmp_path / "t.db", TraceSettings(), describe=write_facts)
    for i in range(400):
        store.add(f"t{i}", trace("The answer is 4.", "The answer is 5.").answer, "acme")
    store.flush()
    with open_catalog(store.path) as catalog:
        assert catalog is not None
        assert len(catalog.read_facts(catalog.list_numbers(400), FACTS_VERSION)) == 400
        assert catalog.read_facts(catalog.list_numbers(400), FACTS_VERSION + 1) == []
    index = TraceIndex(store)
    for members, cost in ((MEMBERS[:1], 0.000225), (MEMBERS, 0.01125), ((), None)):
        index.set_members(members)
        known = index.refresh(0.0)
        assert (len(known.facts), known.missing) == (400, 0)
        assert known.facts[0].costliest_cost == (None if cost is None else pytest.approx(cost))
        assert (known.facts[0].panel, known.facts[0].tenant) == ("differed", "acme")
    store.close()
