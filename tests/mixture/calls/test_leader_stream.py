"""The leading answer is shown as it comes; what becomes of it is said, and the final text is the trace's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from time import perf_counter

import pytest

from routemoa.core.errors import InvalidResponse, ModelHTTPError
from routemoa.core.events import (
    AnswerDelta,
    AnswerReplaced,
    Event,
    ProposalDelta,
    ProposalFailed,
    ProposalFinished,
    Scored,
)
from routemoa.core.trace import Proposal
from routemoa.core.trace_builder import fold_events
from routemoa.core.types import Completion, Limits, Message, ModelSpec, Query, Request
from routemoa.core.usage import Usage
from routemoa.mixture.baselines.single import Single
from routemoa.mixture.calls.call_results import make_failure
from routemoa.mixture.calls.leader_stream import BROKEN_MARKER, MARKER, LeaderStream
from routemoa.mixture.engine import RouteMoA
from routemoa.testing import ScriptedClient
from tests.conftest import MakePool


def says(model: str, text: str, layer: int = 1) -> Event:
    return ProposalDelta(layer, model, text)


def done(model: str, text: str, layer: int = 1) -> Event:
    return ProposalFinished(layer, Proposal(model, text, Usage(), 0.1, None))


def fails(model: str) -> Event:
    return ProposalFailed(
        1, make_failure(ModelSpec(model, "http://x"), InvalidResponse(model, "cut", produced=True), 0.1)
    )


def shown(leading: LeaderStream, events: Sequence[Event]) -> list[str]:
    before = leading.shown
    said = [e for event in events for e in leading.observe(event)]
    texts = [e.text for e in said if isinstance(e, AnswerDelta)]
    assert len(texts) == len(said)
    assert before + "".join(texts) == leading.shown
    return texts


def final(model: str, text: str) -> tuple[Proposal, ...]:
    return (Proposal(model, text, Usage(), 0.1, None),)


def leading(*called: str) -> LeaderStream:
    it = LeaderStream("leader")
    assert it.begin_layer(1, called) == called[0]
    return it


def test_the_leaders_pieces_exactly_as_they_come() -> None:
    it = leading("a", "b")
    events = [says("b", "No"), says("a", "The "), says("b", "!"), says("a", "answer"), done("b", "No!"), says("a", ".")]
    assert shown(it, events) == ["The ", "answer", "."]
    assert not it.stands(final("a", "The answer."))  # it is not whole yet
    assert shown(it, [done("a", "The answer.")]) == []
    assert it.shown == "The answer."
    assert it.stands(final("a", "The answer."))
    assert it.stands(final("b", "The answer."))
    assert not it.stands(final("b", "No!"))
    assert not it.stands(())


def test_an_answer_in_one_piece_is_shown_when_it_is_there() -> None:
    it = leading("a")
    assert shown(it, [done("a", "All at once.")]) == ["All at once."]
    assert it.stands(final("a", "All at once."))


def test_white_space_around_an_answer_changes_nothing() -> None:
    it = leading("a")
    assert shown(it, [says("a", "\n\nIt is"), says("a", " so.\n"), done("a", "It is so.")]) == ["\n\nIt is", " so.\n"]
    assert it.stands(final("a", "It is so."))


def test_the_rest_of_an_answer_that_began_with_white_space_is_shown() -> None:
    it = leading("a")
    assert shown(it, [says("a", "\n\nIt is"), done("a", "It is {so}.")]) == ["\n\nIt is", " {so}."]
    assert it.stands(final("a", "It is {so}."))


def test_another_that_says_the_same_lets_it_stand() -> None:
    it = leading("a", "b")
    shown(it, [says("a", "The answer is 4."), done("a", "The answer is 4."), done("b", "So it is 4. The answer is 4.")])
    assert it.stands(final("b", "So it is 4. The answer is 4."))
    assert not it.stands(final("b", "The answer is 5."))
    assert it.replacement(final("b", "x")) == [AnswerReplaced("the judges prefer the answer of b", "a", MARKER)]


def test_a_leader_that_fails_before_its_first_word_is_followed() -> None:
    it = leading("a", "b", "c")
    assert shown(it, [fails("a"), says("c", "I "), says("b", "We "), says("c", "lead."), done("c", "I lead.")]) == [
        "I ",
        "lead.",
    ]
    assert it.leader == "c"
    assert it.stands(final("c", "I lead."))


def test_who_had_begun_before_the_leader_failed_takes_the_lead() -> None:
    it = leading("a", "b")
    assert shown(it, [says("b", "I was "), fails("a"), says("b", "first."), done("b", "I was first.")]) == [
        "I was ",
        "first.",
    ]
    assert it.stands(final("b", "I was first."))


def test_who_had_ended_before_the_leader_failed_takes_the_lead_and_stands() -> None:
    it = leading("a", "b")
    assert shown(it, [says("b", "I am"), says("b", " done."), done("b", "I am done."), fails("a")]) == ["I am done."]
    assert it.stands(final("b", "I am done."))


def test_who_answers_in_one_piece_after_the_leader_failed_takes_the_lead() -> None:
    it = leading("a", "b")
    assert shown(it, [fails("a"), done("b", "Here I am.")]) == ["Here I am."]
    assert it.stands(final("b", "Here I am."))


def test_a_leader_that_fails_after_a_word_was_shown_does_not_stand() -> None:
    it = leading("a", "b")
    assert shown(it, [says("a", "The ans"), fails("a"), says("b", "It is 4."), done("b", "It is 4.")]) == ["The ans"]
    assert not it.stands(final("b", "It is 4."))
    assert it.replacement(final("b", "It is 4.")) == [
        AnswerReplaced("a failed: its reply could not be read", "a", MARKER)
    ]


def test_nothing_shown_is_nothing_to_continue() -> None:
    it = leading("a")
    assert shown(it, [fails("a")]) == []
    assert not it.stands(final("b", "x"))
    assert it.replacement(final("b", "x")) == []


def test_a_hedge_takes_the_lead_of_one_that_was_cut() -> None:
    it = leading("a", "b")
    assert shown(it, [says("h", "Fast"), fails("a"), says("h", " and good."), done("h", "Fast and good.")])
    assert it.leader == "h"
    assert it.stands(final("h", "Fast and good."))


@pytest.mark.parametrize("mode", [None, "final", "events"])
def test_in_no_other_mode(mode: str | None) -> None:
    it = LeaderStream(mode)  # type: ignore[arg-type]
    assert it.begin_layer(1, ["a"]) is None
    assert it.observe(says("a", "x")) == it.observe(done("a", "x")) == []
    assert not it.stands(final("a", "x"))
    assert it.replacement(final("a", "x")) == []


def alone() -> LeaderStream:
    it = LeaderStream("final")
    assert it.begin_layer(1, ["a"], alone=True) == "a"
    return it


def test_the_answer_of_a_model_alone_is_final_as_it_comes() -> None:
    it = alone()
    assert it.stop_reason() is None
    assert shown(it, [says("a", "\n "), says("a", "It is"), says("b", "No"), done("a", "It is so.")]) == [
        "\n It is",
        " so.",
    ]
    assert str(it.stop_reason()) == "one model alone: the answer of a was shown as it came, so it stands"
    assert it.stands(final("a", "It is so."))
    assert it.stands(final("b", "Another."))  # whatever is better: nothing may replace it


def test_an_answer_alone_that_breaks_off_is_replaced() -> None:
    it = alone()
    assert shown(it, [says("a", "It is"), fails("a"), says("b", "No."), done("b", "No.")]) == ["It is"]
    assert it.stop_reason() is None  # another model is called
    assert not it.stands(final("b", "No."))
    [event] = it.replacement(final("b", "No."))
    assert isinstance(event, AnswerReplaced)
    assert (event.leader, event.marker) == ("a", BROKEN_MARKER)


@pytest.mark.parametrize("before", [[], [says("a", "")], [says("a", " \n"), says("a", "\t")]])
def test_where_a_model_alone_fails_unseen_none_leads(before: list[Event]) -> None:
    it = alone()
    assert shown(it, [*before, says("b", "We "), fails("a"), says("b", "lead."), done("b", "We lead.")]) == []
    assert it.stop_reason() is None
    assert not it.stands(final("b", "We lead."))


@pytest.mark.alone
def test_a_long_answer_takes_time_in_proportion_to_its_length() -> None:
    """4 MB in 40,000 pieces: some 100 ms, where copying what came before would take ten seconds."""
    it = alone()
    begun = perf_counter()
    for _ in range(40_000):
        it.observe(says("a", "x" * 100))
    it.observe(done("a", "x" * 4_000_000))
    assert perf_counter() - begun < 2.0


def test_only_the_first_layer_is_led() -> None:
    it = leading("a")
    shown(it, [says("a", "One."), done("a", "One.")])
    assert it.begin_layer(2, ["b"]) is None
    assert shown(it, [says("a", "Two", 2), done("a", "Two.", 2)]) == []
    assert it.shown == "One."
    assert not it.stands(final("a", "Two."))


# Through the engine.

LEADER = Limits(stream_mode="leader")
TWO = {"top_k": 2, "max_models": 2, "target": 1.0, "self_assessment": "spoken"}
ESSAYS = {
    "a": "Rain falls down from clouds when droplets merge.",
    "b": "Quite another view of seasons and of wind, this.",
}


async def walked(method: RouteMoA, question: str, contract: Limits = LEADER) -> list[Event]:
    return [e async for e in method.stream(Query((Message("user", question),), limits=contract))]


def visible(events: Sequence[Event]) -> list[str]:
    """What a reader has seen: one text for each beginning."""
    texts = [""]
    for event in events:
        if isinstance(event, AnswerDelta):
            texts[-1] += event.text
        elif isinstance(event, AnswerReplaced):
            texts.append("")
    return texts


async def test_where_the_panel_agrees_the_leaders_answer_is_the_answer(make_pool: MakePool) -> None:
    client = ScriptedClient({"a": "So the answer is 4.", "b": "The answer is 4."}, pieces=5)
    events = await walked(RouteMoA(make_pool("a", "b", prior=0.6, mixture=TWO), client), "2+2?")
    assert not [e for e in events if isinstance(e, AnswerReplaced)]
    deltas = [e.text for e in events if isinstance(e, ProposalDelta) and e.model == "a"]
    assert [e.text for e in events if isinstance(e, AnswerDelta)] == deltas
    answer = fold_events(events)
    assert answer.text == "So the answer is 4."
    assert answer.trace.choice == "a"
    assert answer.trace.aggregator is None
    assert {c.model for c in client.calls} == {"a", "b"}


async def test_where_another_is_better_a_continuation_follows(make_pool: MakePool) -> None:
    def judge(spec: ModelSpec, request: Request) -> str:
        if "one final answer" in request.messages[-1].content:
            return "Both together, in one text."
        return ESSAYS[spec.name] + ('\n<assessment>{"self": 0.99}</assessment>' if spec.name == "b" else "")

    mixture = TWO | {"fusion": "published-small"}
    pool = make_pool("a", "b", prior=0.6, mixture=mixture)
    events = await walked(RouteMoA(pool, ScriptedClient({"a": judge, "b": judge})), "Why?")
    answer, seen = fold_events(events), visible(events)
    assert len(seen) == 2
    assert seen[0] == ESSAYS["a"]
    assert answer.text == seen[1] == "Both together, in one text."


async def test_the_leader_is_asked_just_what_one_model_alone_is_asked(make_pool: MakePool) -> None:
    pool = make_pool("a", "b", prior=0.6, mixture=TWO)
    client, alone = ScriptedClient(ESSAYS), ScriptedClient(ESSAYS)
    talk = (Message("system", "S"), Message("user", "one"), Message("assistant", "two"), Message("user", "How many?"))
    query = Query(talk, {"temperature": 0}, LEADER)
    events = [e async for e in RouteMoA(pool, client).stream(query)]
    leader = next(e for e in events if isinstance(e, Scored)).ranking[0].model
    await Single(pool[leader], alone).answer(query)
    mine = next(c.request for c in client.calls if c.model == leader)
    assert mine == alone.calls[0].request
    assert mine.messages == talk
    other = next(c.request for c in client.calls if c.model != leader)
    assert "assessment" in other.messages[-1].content


@pytest.mark.parametrize("words", [0, 3])
async def test_a_leader_that_fails(make_pool: MakePool, words: int) -> None:
    class Breaking(ScriptedClient):
        async def stream(self, model: ModelSpec, request: Request) -> AsyncGenerator[str | Completion, None]:
            if model.name == "a":
                for word in ["The ", "answer ", "is "][:words]:
                    yield word
                await asyncio.sleep(0.01)
                raise ModelHTTPError("a", "HTTP 500", status=500)
            async for piece in super().stream(model, request):
                yield piece

    client = Breaking({"b": "The answer is 4.", "c": "The answer is 4."}, delay=0.02)
    events = await walked(RouteMoA(make_pool(*"abc", prior=0.6, mixture=TWO), client), "2+2?")
    answer, seen = fold_events(events), visible(events)
    assert answer.text == seen[-1] == "The answer is 4."
    assert seen[:-1] == (["The answer is "] if words else [])
    assert [e.why for e in events if isinstance(e, AnswerReplaced)] == (["a failed: HTTP 500"] if words else [])


@pytest.mark.parametrize("mode", ["final", "events", None])
async def test_other_modes_show_no_leader(make_pool: MakePool, mode: str | None) -> None:
    client = ScriptedClient({"a": "So the answer is 4.", "b": "The answer is 4."})
    pool = make_pool("a", "b", prior=0.6, mixture=TWO)
    events = await walked(RouteMoA(pool, client), "2+2?", Limits(stream_mode=mode))  # type: ignore[arg-type]
    finished = [i for i, e in enumerate(events) if isinstance(e, ProposalFinished)]
    assert next(i for i, e in enumerate(events) if isinstance(e, AnswerDelta)) > max(finished)
    assert not [e for e in events if isinstance(e, AnswerReplaced)]
    assert all("assessment" in c.request.messages[-1].content for c in client.calls)


@pytest.mark.parametrize("seed", range(12))
async def test_what_is_shown_folds_to_the_final_text(make_pool: MakePool, seed: int) -> None:
    texts = ["The answer is 4.", "The answer is 5.", ESSAYS["a"], ESSAYS["b"], " \n", "The answer is 4. "]
    client = ScriptedClient(
        {n: [texts[(seed + i) % 6], texts[(seed * i) % 6], "Final."] for i, n in enumerate("abc")}, pieces=3
    )
    events = await walked(RouteMoA(make_pool(*"abc", prior=0.6, mixture={"top_k": 2}), client), "How many?")
    answer = fold_events(events)
    assert visible(events)[-1] == answer.text
    assert answer.text.strip()
