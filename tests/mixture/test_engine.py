"""The published loop on scripted models: who is called, what they see, why it stops, what survives a failure."""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing

import pytest

from routemoa.core import events as t
from routemoa.core.errors import AllModelsFailed, InvalidResponse, ModelError, ModelHTTPError, ModelTimeout
from routemoa.core.pool_file.pool import Pool
from routemoa.core.trace import Answer
from routemoa.core.trace_builder import fold_events
from routemoa.core.types import Completion, Message, ModelSpec, Query, Request, Token, from_json, to_json
from routemoa.core.usage import Usage
from routemoa.mixture.engine import RouteMoA
from routemoa.testing import ScriptedClient
from tests.conftest import MakePool

LONG = "This takes more words than a short answer, so that {} is no plain statement of a result, and it goes on and on."


@pytest.fixture
def make_pool(make_pool: MakePool) -> MakePool:
    """As everywhere, but with the published fusion of the small pool."""

    def make(*names: str, mixture: dict[str, object] | None = None, **keys: object) -> Pool:
        return make_pool(*names, mixture={"fusion": "published-small"} | (mixture or {}), **keys)

    return make


def judging(self_score: float | None = None, **peers: float) -> str:
    inside: list[str] = [] if self_score is None else [f'"self": {self_score}']
    inside.append('"scores": {' + ", ".join(f'"{k}": {v}' for k, v in peers.items()) + "}")
    return "\n<assessment>{" + ", ".join(inside) + "}</assessment>"


def unsure(name: str) -> str:
    return LONG.format(name) + judging(0.1, A=0.1, B=0.1, C=0.1)


def calls(client: ScriptedClient) -> list[str]:
    return [c.model for c in client.calls]


def last_turn(client: ScriptedClient, model: str, n: int = -1) -> str:
    return [c.request for c in client.calls if c.model == model][n].messages[-1].content


async def test_sure_after_the_first_layer(make_pool: MakePool) -> None:
    pool = make_pool("a", "b", "c", "d", prior=0.6)
    client = ScriptedClient({n: LONG.format(n) + judging(0.95) for n in "abcd"})
    answer = await RouteMoA(pool, client).answer("why?")
    trace = answer.trace
    assert calls(client) == ["a", "b", "c", "a"]  # three proposers, then the best aggregates
    assert trace.layers[0].selected == ("a", "b", "c")
    assert trace.stop_reason is not None
    assert trace.stop_reason.startswith("sure: ")
    assert trace.layers[0].scores["a"] == pytest.approx((2 * (1 - 0.8 * 0.4**1.5) + 0.95) / 3)
    assert trace.layers[0].scores["d"] == pytest.approx(1 - 0.8 * 0.4**1.5)
    assert trace.prior == dict.fromkeys("abcd", 0.6)
    assert trace.calls == 4
    assert trace.aggregator == "a"


async def test_three_layers_when_nobody_is_sure(make_pool: MakePool) -> None:
    client = ScriptedClient({n: unsure(n) for n in "abcde"})
    answer = await RouteMoA(make_pool(*"abcde", prior=0.6), client).answer("why?")
    trace = answer.trace
    assert trace.layers[0].selected == ("a", "b", "c")
    assert len(trace.layers) == 3
    assert trace.stop_reason == "last layer: 3 of 3"
    assert trace.calls == len(client.calls) == sum(len(layer.proposals) for layer in trace.layers) + 1
    kinds = [sorted({a.kind for a in layer.assessments}) for layer in trace.layers]
    assert kinds == [["self"], ["cross", "self"], []]
    assert trace.layers[1].selected[:2] == ("d", "e")  # who had not spoken yet kept its score
    assert not any(a.judge == a.subject for layer in trace.layers for a in layer.assessments if a.kind == "cross")


async def test_each_layer_asks_for_just_its_judgments(make_pool: MakePool) -> None:
    client = ScriptedClient({n: unsure(n) for n in "abc"})
    await RouteMoA(make_pool(*"abc", prior=0.6), client).answer("why?")
    first, second, third = (last_turn(client, "a", i) for i in range(3))
    assert '{"self": P}' in first
    assert "<answer" not in first
    assert '"scores": {"A": P, "B": P, "C": P}' in second
    assert second.count("<answer id=") == 3
    assert third.count("<answer id=") == 3
    assert "assessment" not in third


async def test_judgments_never_reach_peers_aggregator_or_user(make_pool: MakePool) -> None:
    def obedient(spec: ModelSpec, request: Request) -> str:
        return unsure(spec.name) if "<assessment>" in request.messages[-1].content else LONG.format(spec.name)

    client = ScriptedClient(dict.fromkeys("abc", obedient))
    method = RouteMoA(make_pool(*"abc", prior=0.6), client)
    events = [e async for e in method.stream("why?")]
    asked = "\n".join(call.request.messages[-1].content for call in client.calls)
    quotes = re.findall(r"<answer id=.*?</answer>", asked, re.DOTALL)
    assert len(quotes) > 6, "later layers and the aggregator quote all three"
    assert not any("assessment" in q or '"self"' in q or "scores" in q for q in quotes)
    shown = "".join(e.text for e in events if isinstance(e, t.ProposalDelta))
    assert "assess" not in shown
    assert all("assess" not in e.proposal.text for e in events if isinstance(e, t.ProposalFinished))
    assert "assess" not in fold_events(events).text


async def test_the_trace_is_the_fold_of_the_events(make_pool: MakePool) -> None:
    method = RouteMoA(make_pool(*"abc", prior=0.6), ScriptedClient({n: unsure(n) for n in "abc"}))
    events = [e async for e in method.stream("why?")]
    answer = fold_events(events)
    assert isinstance(events[0], t.Started)
    assert isinstance(events[-1], t.Done)
    assert from_json(to_json(answer), Answer) == answer
    assert answer.trace.latency is not None


async def test_agreement_needs_no_aggregator_and_no_further_layer(make_pool: MakePool) -> None:
    client = ScriptedClient({"a": "It is 4." + judging(0.1), "b": "The answer is 4." + judging(0.1)})
    answer = await RouteMoA(make_pool("a", "b", prior=0.6), client).answer("2+2?")
    assert answer.text in {"It is 4.", "The answer is 4."} or answer.trace.aggregator is not None
    client = ScriptedClient({"a": "Answer: 4" + judging(0.1), "b": "The answer is 4." + judging(0.2)})
    answer = await RouteMoA(make_pool("a", "b", prior=0.6), client).answer("2+2?")
    assert answer.text == "The answer is 4."  # the better-ranked of those that agree
    assert answer.trace.stop_reason == "agreed: a, b gave the same answer"
    assert answer.trace.aggregator is None
    assert answer.trace.calls == 2


async def test_margin_and_price_choose_whom_to_call(make_pool: MakePool) -> None:
    pool = make_pool("a", "b", prior=0.9)
    specs = (*pool.models, ModelSpec("weak", "local", "weak", prior=0.2))
    client = ScriptedClient({"a": "A." + judging(0.9), "b": "B." + judging(0.9), "weak": "no"})
    await RouteMoA(type(pool)(specs, pool.mixture), client).answer("x")
    assert "weak" not in calls(client)


async def test_the_next_in_the_ranking_takes_a_failed_models_place(make_pool: MakePool) -> None:
    down = ModelHTTPError("b", "HTTP 500", status=500)
    client = ScriptedClient({n: down if n == "b" else unsure(n) for n in "abcde"})
    trace = (await RouteMoA(make_pool(*"abcde", prior=0.6), client).answer("x")).trace
    assert {p.model for p in trace.layers[0].proposals} == {"a", "c", "d"}
    assert [(f.model, f.kind, f.usage) for f in trace.layers[0].failures] == [("b", "Refused", Usage(0, 0, 0, 0))]
    assert calls(client).count("b") == 1  # not asked again in this query
    assert trace.layers[0].ranking[-1].why == "failed in this query"
    assert all("b" not in layer.selected for layer in trace.layers[1:])


async def test_a_cut_answer_was_perhaps_billed_so_the_cost_is_unknown(make_pool: MakePool) -> None:
    cut = InvalidResponse("a", "cut", produced=True)
    client = ScriptedClient({"a": cut, "b": "The answer is 4."})
    trace = (await RouteMoA(make_pool("a", "b", prior=0.6, input_price=1, output_price=1), client).answer("x")).trace
    assert trace.cost is None
    assert trace.usage.completion_tokens is None
    assert trace.layers[0].failures[0].cost is None


async def test_only_when_nobody_is_left_does_the_query_fail(make_pool: MakePool) -> None:
    script: dict[str, str | ModelError] = {
        "a": ModelTimeout("a", "no first byte within 5 s"),
        "b": ModelHTTPError("b", "HTTP 401", status=401),
        "c": "",
    }
    with pytest.raises(AllModelsFailed) as caught:
        await RouteMoA(make_pool(*"abc", prior=0.6), ScriptedClient(script)).answer("x")
    message = str(caught.value)
    for words in ("a: no first byte within 5 s", "b: HTTP 401", "c: empty answer"):
        assert words in message


async def test_when_a_later_layer_fails_the_earlier_answers_stand(make_pool: MakePool) -> None:
    down = ModelTimeout("a", "slow")
    client = ScriptedClient({"a": [unsure("a"), down], "b": [unsure("b"), down]})
    answer = await RouteMoA(make_pool("a", "b", prior=0.6), client).answer("x")
    assert answer.trace.stop_reason == "no model left to call"
    assert answer.text == LONG.format("a").strip() or answer.text == LONG.format("b").strip()
    assert answer.trace.aggregator is None


async def test_a_failing_aggregator_is_replaced_and_its_words_are_void(make_pool: MakePool) -> None:
    def second(spec: ModelSpec, request: Request) -> str | Exception:
        if "one final answer" in request.messages[-1].content:
            return InvalidResponse("a", "cut", produced=True) if spec.name == "a" else "final by b"
        return LONG.format(spec.name) + judging(0.95)

    client = ScriptedClient({"a": second, "b": second})  # type: ignore[dict-item]
    answer = await RouteMoA(make_pool("a", "b", prior=0.6, mixture={"aggregator": "a"}), client).answer("x")
    assert answer.text == "final by b"
    assert answer.trace.aggregator == "b"
    assert [f.model for f in answer.trace.failures] == ["a"]
    assert answer.trace.calls == 4


async def test_one_model_alone_is_asked_once(make_pool: MakePool) -> None:
    client = ScriptedClient({"a": LONG.format("a") + judging(0.1)})
    answer = await RouteMoA(make_pool("a", prior=0.6), client).answer("x")
    assert answer.trace.calls == 1
    assert (answer.trace.stop_reason or "").startswith("no further evidence expected")
    assert answer.text == LONG.format("a").strip()


async def test_models_nobody_knows_anything_about_are_asked_and_judged_by_what_they_say(make_pool: MakePool) -> None:
    client = ScriptedClient({"a": LONG.format("a") + judging(0.4), "b": LONG.format("b")})
    trace = (await RouteMoA(make_pool("a", "b", mixture={"layers": 1}), client).answer("x")).trace
    assert trace.prior == {"a": None, "b": None}
    assert [r.performance for r in trace.ranking] == [0.5, 0.5]
    assert trace.layers[0].scores == {"a": 0.4, "b": None}  # no prior, no judgment: still unknown


async def test_confidence_from_log_probabilities(make_pool: MakePool) -> None:
    said = Completion(LONG.format("a"), Usage(1, 2), "stop", tokens=(Token(LONG.format("a"), -0.1), Token("", -0.3)))
    client = ScriptedClient({"a": said, "b": LONG.format("b")})
    mixture = {"self_assessment": "logprob", "layers": 1}
    trace = (await RouteMoA(make_pool("a", "b", prior=0.6, mixture=mixture), client).answer("x")).trace
    values = {a.judge: a.value for a in trace.layers[0].assessments}
    assert values["a"] == pytest.approx(2.718281828**-0.1)
    assert values["b"] is None  # its endpoint gave none
    assert all(c.request.logprobs for c in client.calls[:2])
    assert "assessment" not in client.calls[0].request.messages[-1].content


async def test_conversations_are_answered_as_conversations(make_pool: MakePool) -> None:
    talk = (Message("system", "S"), Message("user", "one"), Message("assistant", "two"), Message("user", "three"))
    client = ScriptedClient({n: unsure(n) for n in "ab"})
    answer = await RouteMoA(make_pool("a", "b", prior=0.6), client).answer(Query(talk, {"temperature": 0}))
    for call in client.calls:
        assert call.request.messages[:3] == talk[:3]
        assert call.request.messages[-1].content.startswith("three")
        assert call.request.parameters == {"temperature": 0}
    assert answer.trace.query.messages == talk


async def test_structured_models_reply_with_one_object(make_pool: MakePool) -> None:
    client = ScriptedClient({"a": '{"answer": "The answer is 4", "self": 10}', "b": '{"answer": "5", "self": 3}'})
    trace = (await RouteMoA(make_pool("a", "b", prior=0.6, json_schema=True), client).answer("x")).trace
    assert {p.model: p.text for p in trace.layers[0].proposals} == {"a": "The answer is 4", "b": "5"}
    assert {a.judge: a.value for a in trace.layers[0].assessments} == {"a": 1.0, "b": 0.3}
    assert client.calls[0].request.schema is not None
    assert client.calls[-1].request.schema is None  # the aggregator writes prose


async def test_proposers_work_at_the_same_time_and_stop_when_the_reader_leaves(make_pool: MakePool) -> None:
    client = ScriptedClient(dict.fromkeys("abc", LONG), delay=30)
    before = asyncio.all_tasks()
    async with aclosing(RouteMoA(make_pool(*"abc", prior=0.6), client).stream("x")) as events:
        started = 0
        async for event in events:
            started += isinstance(event, t.ProposalStarted)
            if started == 3:
                break
        await asyncio.sleep(0)
        assert client.running == 3
    assert client.running == 0
    assert asyncio.all_tasks() == before


async def test_a_defect_in_one_members_call_is_logged_and_is_its_failure(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(spec: ModelSpec, request: Request) -> str:
        raise ZeroDivisionError("a bug")

    client = ScriptedClient({"a": broken, "b": "The answer is 4."})
    answer = await RouteMoA(make_pool("a", "b", prior=0.6), client).answer("x")
    assert answer.text == "The answer is 4."
    assert any(r.exc_info and r.exc_info[0] is ZeroDivisionError for r in caplog.records)
    with pytest.raises(AllModelsFailed, match="could not be handled"):
        await RouteMoA(make_pool("a", prior=0.6), ScriptedClient({"a": broken})).answer("x")
