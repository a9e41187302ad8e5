"""Open questions through the engine: one model's stream, a panel that is written from, a judge's choice."""

from __future__ import annotations

import pytest

from routemoa.core import events as t
from routemoa.core.errors import ModelHTTPError
from routemoa.core.trace_builder import fold_events
from routemoa.core.types import Limits, Message, ModelSpec, Query, Request
from routemoa.mixture.engine import RouteMoA
from routemoa.testing import ScriptedClient
from tests.conftest import MakePool
from tests.mixture.test_engine_adaptive import essay

QUESTION = "Why is the sky blue?"


def replies(model: ModelSpec, request: Request) -> str:
    """Answer; as judge prefer the essay of `c`, wherever it stands; as aggregator write one text."""
    asked = request.messages[-1].content
    if "[[A]]" in asked:
        return "[[A]]" if asked.index(essay(2)[:30]) < asked.index('<answer id="B">') else "[[B]]"
    if "one final answer" in asked:
        return "Written from all."
    return essay("abcd".index(model.name))


async def test_alone_streams_the_best_model_at_once(make_pool: MakePool) -> None:
    client = ScriptedClient(dict.fromkeys("abcd", replies))
    query = Query((Message("user", QUESTION),), limits=Limits(stream_mode="final"))
    events = [e async for e in RouteMoA(make_pool(*"abcd", prior=0.6), client).stream(query)]
    answer = fold_events(events)
    assert [c.model for c in client.calls] == ["a"]
    assert client.calls[0].request.messages == query.messages
    assert answer.text == essay(0)
    kinds = [type(e) for e in events]
    assert kinds.index(t.AnswerDelta) < kinds.index(t.ProposalFinished)
    assert (answer.trace.stop_reason or "").startswith("open question: the answer of a stands")


async def test_synthesize_calls_a_panel_in_parallel_and_the_best_member_writes(make_pool: MakePool) -> None:
    client = ScriptedClient(dict.fromkeys("abcd", replies))
    pool = make_pool(*"abcd", prior=0.6, mixture={"open": "synthesize"})
    answer = await RouteMoA(pool, client).answer(QUESTION)
    assert [c.model for c in client.calls] == ["a", "b", "c", "a"]
    assert len(answer.trace.layers) == 1
    assert (answer.text, answer.trace.aggregator) == ("Written from all.", "a")


async def test_select_lets_a_judge_compare_in_both_orders(make_pool: MakePool) -> None:
    client = ScriptedClient(dict.fromkeys("abcd", replies))
    pool = make_pool(*"abcd", prior=0.6, mixture={"open": "select", "judge_model": "d"})
    events = [e async for e in RouteMoA(pool, client).stream(QUESTION)]
    answer = fold_events(events)
    assert answer.text == essay(2)
    assert answer.trace.choice == "c"
    assert {c.model for c in client.calls[3:]} == {"d"}
    compared = [(("a", "b"), "a"), (("a", "c"), "c"), (("c", "b"), "c")]  # b could still be better than c
    assert [(c.answers, c.winner) for c in answer.trace.comparisons] == compared
    assert answer.trace.calls == len(client.calls) == 3 + 2 * 3
    assert sum(isinstance(e, t.Compared) for e in events) == 3


@pytest.mark.parametrize("fault", [ModelHTTPError("d", "HTTP 500", status=500), "neither", ""])
async def test_a_judge_that_fails_or_babbles_leaves_the_best_prior(make_pool: MakePool, fault: object) -> None:
    client = ScriptedClient({**{m: essay(i) for i, m in enumerate("abc")}, "d": fault})  # type: ignore[dict-item]
    pool = make_pool(*"abcd", prior=0.6, mixture={"open": "select", "judge_model": "d", "hedge": False})
    answer = await RouteMoA(pool, client).answer(QUESTION)
    assert answer.text == essay(0)
