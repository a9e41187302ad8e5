"""Open questions: which policy holds, which models are called, and what is done with their answers."""

from __future__ import annotations

from typing import Any

import pytest

from routemoa.core.stop_reason import StopKind, StopReason
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.trace import Layer, Proposal, Trace
from routemoa.core.types import ModelSpec, Query, Scores
from routemoa.core.usage import Usage
from routemoa.judging.judge_model import JudgeModel, OpenEvidence
from routemoa.routing.decision import Decision
from routemoa.routing.latency import CallEstimates
from routemoa.routing.policies.adaptive import AdaptivePolicy
from routemoa.routing.policies.open_answers import choose_open_policy

PRIORS: Scores = {"a": 0.5, "b": 0.7, "c": 0.6, "d": 0.4}
OPEN = Query.from_text("Why is the sky blue?")
UNKNOWN = Query.from_text("Who is Ada Lovelace?")
CLOSED = Query.from_text("What is 2 + 2?")
ESSAY = "The {0} of the {0} went over the hill, and nobody in the {0} town had seen the like of it before, they said."


def policy(judge_model: JudgeModel | None = None, **mixture: Any) -> AdaptivePolicy:
    specs = tuple(ModelSpec(name, "local", name, prior=prior) for name, prior in PRIORS.items())
    return AdaptivePolicy(specs, Mixture(**mixture), judge_model or JudgeModel(), frozenset())


def first(query: Query, **mixture: Any) -> Decision:
    return policy(**mixture).initial(PRIORS, CallEstimates(), query)


def answered(query: Query, names: str, text: str = ESSAY, **mixture: Any) -> Decision:
    chosen = policy(**mixture)
    opening = chosen.initial(PRIORS, CallEstimates(), query)
    proposals = tuple(Proposal(n, text.format(n * 9), Usage(1, 1), 1.0, 0.0) for n in names)
    trace = Trace(query, "routemoa", PRIORS, opening.ranking, (Layer(tuple(names), proposals),))
    return chosen.update(trace, CallEstimates())


def evidence(name: str, low: float, high: float) -> JudgeModel:
    return JudgeModel(open_evidence=OpenEvidence(name, (low + high) / 2, low, high, 200, "labels"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mixture", "known", "name"),
    [
        ({}, None, "alone"),
        ({"prefer": "cheap"}, None, "alone"),
        ({"prefer": "fast"}, None, "alone"),
        ({"prefer": "quality"}, None, "synthesize"),
        ({}, evidence("synthesize", 0.01, 0.09), "synthesize"),
        ({}, evidence("select", 0.01, 0.09), "select"),
        ({}, evidence("select", -0.01, 0.09), "alone"),
        ({}, evidence("alone", 0.0, 0.0), "alone"),
        ({"prefer": "cheap"}, evidence("select", 0.01, 0.09), "alone"),
        ({"open": "select", "prefer": "fast"}, None, "select"),
        ({"open": "alone", "prefer": "quality"}, None, "alone"),
    ],
)
def test_auto_follows_what_is_preferred_and_what_was_measured(
    mixture: dict[str, Any], known: JudgeModel | None, name: str
) -> None:
    chosen = choose_open_policy(Mixture(**mixture), known or JudgeModel())
    assert chosen.name == name
    assert chosen.reason


def test_alone_asks_the_best_model_and_streams_it() -> None:
    decision = first(OPEN)
    assert (decision.models, decision.alone, decision.options.self_assessment) == (("b",), True, False)
    assert "open question" in decision.selection_reason
    done = answered(OPEN, "b")
    assert (done.choice, done.aggregate, done.compare) == ("b", False, False)
    assert done.stop is not None
    assert done.stop.kind is StopKind.OPEN


def test_a_question_that_does_not_tell_asks_one_model_first() -> None:
    decision = first(UNKNOWN)
    assert (decision.models, decision.alone) == (("b",), False)
    assert answered(UNKNOWN, "b").stop is not None  # a text: no other answer could confirm it
    more = answered(UNKNOWN, "b", "The answer is 4.")  # a result: others can
    assert more.stop is None
    assert more.models


@pytest.mark.parametrize("name", ["synthesize", "select"])
def test_a_panel_answers_in_one_round(name: str) -> None:
    assert first(OPEN, open=name).models == ("b", "c", "a")
    assert first(OPEN, open=name, top_k=4).models == ("b", "c", "a", "d")
    assert first(OPEN, open=name, max_models=2).models == ("b", "c")
    done = answered(OPEN, "bca", open=name)
    assert [p.model for p in done.final_answers] == ["b", "c", "a"]
    assert (done.aggregate, done.compare) == (name == "synthesize", name == "select")


def test_a_panel_that_turned_out_open_is_filled_in_one_more_round() -> None:
    more = answered(CLOSED, "bc", open="synthesize")
    assert (more.stop, more.models) == (None, ("a",))
    assert answered(CLOSED, "bc", open="synthesize", layers=1).stop is not None


@pytest.mark.parametrize("name", ["synthesize", "select"])
def test_a_question_that_does_not_tell_asks_the_panel_at_once_where_several_would_answer(name: str) -> None:
    opening = first(UNKNOWN, open=name)
    assert opening.models == ("b", "c", "a")
    assert "may be open" in opening.selection_reason
    assert answered(UNKNOWN, "bca", open=name).stop is not None
    assert answered(UNKNOWN, "bc", open=name).stop is not None  # one failed: no second round for it
    closed = answered(UNKNOWN, "bca", "The answer is 4.", open=name)
    assert (closed.stop is not None, closed.aggregate, closed.compare) == (True, False, False)


def test_the_order_is_that_of_the_priors_and_not_of_likeness() -> None:
    same = answered(OPEN, "adb", "All of them say just the same words here, one after the other.", open="select")
    assert [p.model for p in same.final_answers] == ["b"]  # one group: nothing to choose
    assert not same.compare


def test_answers_that_broke_off_or_refuse_come_last() -> None:
    chosen = policy(open="select")
    opening = chosen.initial(PRIORS, CallEstimates(), OPEN)
    cut = Proposal("b", ESSAY.format("bbb"), Usage(1, 1), 1.0, 0.0, "length")
    no = Proposal("c", "I cannot help with that.", Usage(1, 1), 1.0, 0.0, "stop", True)
    whole = Proposal("a", ESSAY.format("aaa"), Usage(1, 1), 1.0, 0.0, "stop")
    trace = Trace(OPEN, "routemoa", PRIORS, opening.ranking, (Layer(("b", "c", "a"), (cut, no, whole)),))
    done = chosen.update(trace, CallEstimates())
    assert [p.model for p in done.final_answers] == ["a", "b"]


def test_a_question_with_results_is_not_touched() -> None:
    query = Query.from_text("What is 2 + 2?")
    assert len(first(query).models) == 2
    assert answered(query, "bc", "The answer is 4.").stop is not None


def test_a_limit_that_ends_the_loop_is_named() -> None:
    essays = (Layer(("b",), (Proposal("b", ESSAY, Usage(), None, None),)),)
    trace = Trace(OPEN, "routemoa", PRIORS, first(OPEN).ranking, essays)
    forced = policy().update(trace, CallEstimates(), StopReason(StopKind.LIMITS, "no time"))
    assert forced.stop is not None
    assert forced.stop.kind is StopKind.LIMITS


def test_code_is_a_text_unless_it_is_run() -> None:
    query = Query.from_text("Write a function that reverses a list.")
    assert len(first(query).models) == 1
    assert len(first(query, run_code=True).models) == 2
    assert len(first(query, prefer="quality").models) == 1  # what can be checked loses by being written from several
    assert len(first(query, open="synthesize").models) == 3
    assert not answered(Query.from_text("What is 2 + 2?"), "bc", prefer="quality").aggregate


@pytest.mark.parametrize("name", ["synthesize", "select"])
def test_short_texts_are_no_results_where_a_text_was_asked_for(name: str) -> None:
    query = Query.from_text("Write a poem about rain in one line.")
    opening = policy(open=name).initial(PRIORS, CallEstimates(), query)
    texts = {"b": "Rain falls.", "c": "Silver rain.", "a": "Drops, drops."}
    proposals = tuple(Proposal(n, text, Usage(1, 1), 1.0, 0.0) for n, text in texts.items())
    trace = Trace(query, "routemoa", PRIORS, opening.ranking, (Layer(tuple(texts), proposals),))
    done = policy(open=name).update(trace, CallEstimates())
    assert (done.aggregate, done.compare) == (name == "synthesize", name == "select")


def test_no_panel_is_called_for_a_judge_that_could_change_nothing() -> None:
    far: Scores = {"a": 0.95, "b": 0.2, "c": 0.2}
    specs = tuple(ModelSpec(name, "local", name, prior=prior) for name, prior in far.items())
    decision = AdaptivePolicy(specs, Mixture(open="select"), JudgeModel(), frozenset()).initial(
        far, CallEstimates(), OPEN
    )
    assert (decision.models, decision.alone) == (("a",), True)


def test_a_model_that_leads_by_far_is_the_whole_panel() -> None:
    far: Scores = {"a": 0.9, "b": 0.6, "c": 0.5}
    specs = tuple(ModelSpec(name, "local", name, prior=prior) for name, prior in far.items())

    def decide(open_policy: str, **mixture: Any) -> Decision:
        chosen = AdaptivePolicy(specs, Mixture(open=open_policy, **mixture), JudgeModel(), frozenset())  # type: ignore[arg-type]
        return chosen.initial(far, CallEstimates(), OPEN)

    decision = decide("synthesize")
    assert (decision.models, decision.samples) == (("a", "a", "a"), True)
    assert "leads by far" in decision.selection_reason
    assert decide("synthesize", max_models=1).models == ("a",)
    assert decide("select").models != ("a", "a", "a")

    samples = tuple(Proposal("a", ESSAY.format(word), Usage(1, 1), 1.0, 0.0) for word in ("river", "river", "cat"))
    trace = Trace(OPEN, "routemoa", far, decision.ranking, (Layer(("a", "a", "a"), samples),))
    done = AdaptivePolicy(specs, Mixture(open="synthesize"), JudgeModel(), frozenset()).update(trace, CallEstimates())
    assert done.aggregate
    assert {p.text for p in done.final_answers} == {p.text for p in samples}
    assert len(done.final_answers) == 2  # what was said twice is shown once


@pytest.mark.parametrize("gap", [0.0, 0.1, 0.149])
def test_models_of_a_like_level_are_a_panel(gap: float) -> None:
    near: Scores = {"a": 0.8, "b": 0.8 - gap, "c": 0.3}
    specs = tuple(ModelSpec(name, "local", name, prior=prior) for name, prior in near.items())
    chosen = AdaptivePolicy(specs, Mixture(open="synthesize"), JudgeModel(), frozenset())
    assert set(chosen.initial(near, CallEstimates(), OPEN).models) == {"a", "b", "c"}
