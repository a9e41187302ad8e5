"""Feedback becomes scores of the members that it is about, and of no others."""

from __future__ import annotations

import pytest

from routemoa.core.failure_kind import FailureKind
from routemoa.core.trace import Answer, Failure, Layer, Proposal, Trace
from routemoa.core.types import Query, to_json
from routemoa.core.usage import Usage
from routemoa.datasets.outcomes import merge_feedback, read_outcome
from routemoa.datasets.records import Record, parse_record
from routemoa.ledger.trace_store.traces import Feedback, StoredTrace

PRIOR = {"a": 0.8, "b": 0.6, "c": 0.5, "d": None}
TEXTS = {"a": "The answer is 391.", "b": "17 * 23 = 391", "c": "The answer is 400."}


def stored(
    *feedback: Feedback,
    texts: dict[str, str] = TEXTS,
    text: str | None = None,
    question: str = "What is 17 * 23?",
    aggregator: str | None = None,
    quoted: dict[str, tuple[str, ...]] | None = None,
) -> StoredTrace:
    proposals = tuple(Proposal(m, t, Usage(3, 4), 0.5, 0.001) for m, t in texts.items())
    failure = Failure("e", "HTTP 500", FailureKind.HTTP_ERROR, Usage(0, 0), None, 0.0)
    layer = Layer(tuple(texts), proposals, (failure,), quoted=quoted or {})
    choice = next(iter(texts))
    trace = Trace(Query.from_text(question), "routemoa", PRIOR, layers=(layer,), choice=choice, aggregator=aggregator)
    return StoredTrace("1", 100.0, None, Answer(texts[choice] if text is None else text, trace), feedback)


def scores(trace: StoredTrace) -> dict[str, float | None] | None:
    outcome = read_outcome(trace)
    return None if outcome is None else dict(outcome.record.scores)


def test_a_thumb_holds_for_the_answers_that_say_the_same_and_is_unknown_for_the_others() -> None:
    assert scores(stored(Feedback(1.0))) == {"a": 1.0, "b": 1.0, "c": None, "d": None, "e": None}
    assert scores(stored(Feedback(0.0))) == {"a": 0.0, "b": 0.0, "c": None, "d": None, "e": None}


def test_a_thumb_teaches_the_chosen_member_alone_and_counts_what_the_panel_added() -> None:
    layer = Layer(tuple(TEXTS), tuple(Proposal(m, t, Usage(), 0.5, 0.0) for m, t in TEXTS.items()), scores={"a": 0.95})
    trace = Trace(Query.from_text("What is 17 * 23?"), "routemoa", PRIOR, layers=(layer,), choice="a")
    outcome = read_outcome(StoredTrace("1", 100.0, None, Answer(TEXTS["a"], trace), (Feedback(1.0),)))
    assert outcome is not None
    assert outcome.taught == {"a": 1.0}
    predicted = outcome.predict({"a": 0.8, "b": 0.6})
    assert predicted["a"] == pytest.approx(0.95)
    assert predicted["b"] == 0.6
    assert outcome.teach({"a": 0.8}) == {"a": 1.0}
    assert outcome.teach({"a": None}) == {}, "what the panel added cannot be told from what the member is"
    graded = read_outcome(stored(Feedback(expected="391")))
    assert graded is not None
    assert graded.teach({"a": None}) == graded.taught
    assert (graded.taught, graded.evidence) == ({"a": 1.0, "b": 1.0, "c": 0.0}, {})


def test_an_expected_answer_grades_every_answer_and_labels_go_before_it() -> None:
    expected = Feedback(expected="391")
    assert scores(stored(expected)) == {"a": 1.0, "b": 1.0, "c": 0.0, "d": None, "e": None}
    assert scores(stored(Feedback(expected="400", grader="numeric"), Feedback(0.0))) == {
        "a": 0.0,
        "b": 0.0,
        "c": 1.0,
        "d": None,
        "e": None,
    }
    labelled = stored(Feedback(labels={"a": 0.25, "d": 1.0, "stranger": 1.0}), expected)
    assert scores(labelled) == {"a": 0.25, "b": 1.0, "c": 0.0, "d": None, "e": None}, "unasked members have no answer"


def test_an_expected_option_is_graded_as_one() -> None:
    choices = stored(Feedback(expected="B"), texts={"a": "The answer is (B).", "b": "Answer: C"}, question="Q? A B C")
    assert scores(choices) == {"a": 1.0, "b": 0.0, "c": None, "d": None, "e": None}


def test_a_grader_that_runs_code_is_not_believed() -> None:
    """Only the server checks the name; a store may have been written by another version."""
    said = stored(Feedback(expected="import os; os.abort()", grader="code"))
    assert scores(said) == {"a": 0.0, "b": 0.0, "c": 0.0, "d": None, "e": None}


def test_a_thumb_for_a_text_that_an_aggregator_wrote_is_that_of_no_open_answer() -> None:
    poems = {
        "a": "Roses are red and the sea is wide, I sing.",
        "b": "O moon, how far you walk above us.",
    }
    assert scores(stored(Feedback(1.0), texts=poems, question="A poem")) == {**dict.fromkeys("abcde"), "a": 1.0}
    written = stored(Feedback(1.0), texts=poems, text="A third poem of the aggregator.", aggregator="a")
    assert scores(written) is None
    closed = stored(Feedback(1.0), text="It is 400, since 400 is right. The answer is 400.", aggregator="a")
    assert scores(closed) == {"a": None, "b": None, "c": 1.0, "d": None, "e": None}


def test_an_answer_that_saw_the_others_is_not_its_models_own() -> None:
    assert scores(stored(Feedback(1.0), quoted={"b": ("a",)})) == {**dict.fromkeys("abcde"), "a": 1.0}


def test_a_trace_without_texts_still_teaches_by_its_score_and_labels() -> None:
    bare = {"a": "", "b": ""}
    assert scores(stored(Feedback(1.0), texts=bare, question="")) == {**dict.fromkeys("abcde"), "a": 1.0}
    assert scores(stored(Feedback(expected="4"), texts=bare, question="")) is None


def test_nothing_said_is_no_outcome() -> None:
    assert read_outcome(stored()) is None
    assert read_outcome(stored(Feedback(comment="nice"))) is None


@pytest.mark.parametrize("order", [1, -1])
def test_later_feedback_of_the_same_kind_goes_first(order: int) -> None:
    said = (Feedback(1.0, labels={"a": 1.0}), Feedback(0.0, "4", "numeric"), Feedback(labels={"a": 0.5, "b": 0.0}))
    merged = merge_feedback(said[::order])
    assert merged.score == (0.0 if order == 1 else 1.0)
    assert merged.labels == ({"a": 0.5, "b": 0.0} if order == 1 else {"a": 1.0, "b": 0.0})
    assert (merged.expected, merged.grader) == ("4", "numeric")
    assert merge_feedback([Feedback(expected="4", grader="numeric"), Feedback(expected="x")]).grader is None


def test_a_record_is_one_that_can_be_read_and_keeps_only_wanted_members() -> None:
    outcome = read_outcome(stored(Feedback(expected="391")), lambda name: name != "c", ["f"])
    assert outcome is not None
    assert outcome.record.scores == {"a": 1.0, "b": 1.0, "d": None, "e": None, "f": None}
    assert outcome.record.costs == {"a": 0.001, "b": 0.001}
    assert outcome.record.reference == "391"
    assert isinstance(parse_record(to_json(outcome.record)), Record)
