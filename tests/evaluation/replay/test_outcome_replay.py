"""What the mixture would have answered under other priors, from what its members said."""

from __future__ import annotations

from msgspec.structs import replace

from routemoa import ModelSpec, Pool
from routemoa.core.trace import Answer, Layer, Proposal, Trace
from routemoa.core.types import Query, Scores
from routemoa.core.usage import Usage
from routemoa.datasets.outcomes import Outcome, read_outcome
from routemoa.evaluation.replay.outcome_replay import OutcomeReplay
from routemoa.evaluation.shadow import Choice
from routemoa.judging.judge_model import JudgeModel
from routemoa.ledger.trace_store.traces import Feedback, StoredTrace

POOL = Pool(tuple(ModelSpec(m, "http://localhost/v1") for m in ("a", "b", "c")))
A_ALONE: Scores = {"a": 0.99, "b": 0.3, "c": 0.3}
B_ALONE: Scores = {"a": 0.3, "b": 0.99, "c": 0.3}
C_ALONE: Scores = {"a": 0.4, "b": 0.3, "c": 0.99}


def outcome(texts: dict[str, str]) -> Outcome:
    """Return an outcome of a panel of which each member costs a cent."""
    proposals = tuple(Proposal(m, t, Usage(), 0.1, 0.01) for m, t in texts.items())
    trace = Trace(Query.from_text("What is 2+2?"), "routemoa", layers=(Layer(tuple(texts), proposals),), choice="a")
    read = read_outcome(StoredTrace("0", 0.0, None, Answer("4", trace), (Feedback(labels=dict.fromkeys(texts, 1.0)),)))
    assert read is not None
    return read


def test_priors_decide_whose_answer_is_given_and_how_many_are_asked() -> None:
    replay, asked = OutcomeReplay(POOL, JudgeModel()), outcome({"a": "The answer is 4.", "b": "The answer is 5."})
    assert replay.choose(asked, A_ALONE, B_ALONE) == (Choice("a", 0.01), Choice("b", 0.01))
    chosen = replay.choose(asked, A_ALONE, {"a": 0.6, "b": 0.5, "c": 0.1})
    assert chosen is not None
    assert chosen[1] == Choice("a", 0.02)


def test_a_member_without_an_answer_counts_against_what_is_new_alone() -> None:
    replay, asked = OutcomeReplay(POOL, JudgeModel()), outcome({"a": "The answer is 4.", "b": "The answer is 5."})
    assert replay.choose(asked, A_ALONE, C_ALONE) == (Choice("a", 0.01), Choice("a", 0.02)), "c fails"
    assert replay.choose(asked, C_ALONE, A_ALONE) == (None, Choice("a", 0.01))


def test_what_was_kept_without_texts_or_by_another_method_is_not_replayed() -> None:
    replay, asked = OutcomeReplay(POOL, JudgeModel()), outcome({"a": "The answer is 4."})
    assert asked.trace is not None
    for other in (
        replace(asked, record=replace(asked.record, responses=None)),
        replace(asked, trace=replace(asked.trace, method="moa")),
        replace(asked, trace=None),
    ):
        assert replay.choose(other, A_ALONE, B_ALONE) is None
