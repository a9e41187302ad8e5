"""Answers judged again: the engine's own functions on a trace, whatever the trace is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routemoa.core.pool_file.pool import Pool
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.trace import Trace
from routemoa.core.types import ModelSpec, Query
from routemoa.gateway.ui.rejudge import PolicyChoice, Weights, judge_again, read_foreign_trace
from routemoa.judging.judge_model import JudgeModel
from routemoa.mixture.method_registry import METHODS, build_method
from routemoa.testing import FakeEndpoint, ScriptedClient
from tests.gateway.traces.test_endpoints import ACME, OTHER, TENANTS
from tests.gateway.ui.test_routes import ask, showing

POOL = Pool(tuple(ModelSpec(n, "local", n, input_price=1.0, output_price=1.0, prior=0.6) for n in ("a", "b", "c")))
CLIENT = ScriptedClient({"a": "The answer is 4.", "b": "The answer is 4.", "c": "The answer is 5."})


async def trace_of(method: str) -> Trace:
    return (await build_method(POOL, method, CLIENT).answer(Query.from_text("What is 2 + 2?"))).trace


@pytest.mark.parametrize("method", METHODS)
async def test_answers_of_every_method_are_grouped(method: str) -> None:
    trace = await trace_of(method)
    found = judge_again(trace, POOL.mixture, JudgeModel(), PolicyChoice())
    groups = {frozenset(g["models"]) for g in found["groups"]}
    answered = {p.model for layer in trace.layers for p in layer.proposals}
    assert set().union(*groups) == answered
    assert groups <= {frozenset(answered & {"a", "b"}), frozenset({"c"})}
    assert found["closed"]
    assert {g["states"] for g in found["groups"]} <= {"4", "5"}
    assert sum(g["leads"] for g in found["groups"]) == 1


async def test_a_policy_changes_what_is_concluded_and_nothing_else() -> None:
    trace, calls = await trace_of("moa"), len(CLIENT.calls)
    as_pool = judge_again(trace, POOL.mixture, JudgeModel(), PolicyChoice())
    deaf = judge_again(trace, POOL.mixture, JudgeModel(), PolicyChoice(weights=Weights(votes=0.0)))
    assert deaf["groups"][0]["probability"] < as_pool["groups"][0]["probability"]
    assert deaf["weights"]["votes"] == 0.0
    quality = judge_again(trace, POOL.mixture, JudgeModel(), PolicyChoice(prefer="quality"))
    cheap = judge_again(trace, POOL.mixture, JudgeModel(), PolicyChoice(prefer="cheap"))
    assert cheap["policy"]["target"] < quality["policy"]["target"]
    published = judge_again(trace, Mixture(fusion="published-small"), JudgeModel(), PolicyChoice())
    assert len(published["groups"]) == len(as_pool["groups"])
    assert len(CLIENT.calls) == calls


NAMES = st.sampled_from(["a", "b", "c", "", "a|b"])
SHARES = st.none() | st.floats(0, 1)
PROPOSAL: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"model": NAMES, "text": st.text(max_size=20) | st.just("The answer is 4."), "latency": st.just(None)}
).map(lambda p: {**p, "usage": {}, "cost": None})
ASSESSMENT = st.fixed_dictionaries(
    {"judge": NAMES, "subject": NAMES, "kind": st.sampled_from(["self", "cross"]), "value": SHARES}
)
LAYER = st.fixed_dictionaries(
    {
        "selected": st.lists(NAMES, max_size=3),
        "proposals": st.lists(PROPOSAL, max_size=4),
        "assessments": st.lists(ASSESSMENT, max_size=4),
        "quoted": st.dictionaries(NAMES, st.lists(NAMES, max_size=2), max_size=2),
        "scores": st.dictionaries(NAMES, SHARES, max_size=3),
    }
)
RANKED = NAMES.map(lambda n: {"model": n, "performance": 0.5, "cost": None, "latency": None, "why": ""})
TRACE = st.fixed_dictionaries(
    {
        "query": st.just({"messages": [{"role": "user", "content": "What is 2 + 2?"}]}),
        "method": st.just("routemoa"),
        "prior": st.dictionaries(NAMES, SHARES, max_size=4),
        "ranking": st.lists(RANKED, max_size=3),
        "layers": st.lists(LAYER, max_size=3),
    }
)


@settings(max_examples=60, deadline=None)
@given(TRACE, st.sampled_from([None, "quality", "cheap"]), st.none() | st.floats(0, 20))
def test_any_trace_is_judged(trace: dict[str, Any], prefer: Any, votes: float | None) -> None:
    read = read_foreign_trace({"trace": trace})
    found = judge_again(read, POOL.mixture, JudgeModel(), PolicyChoice(prefer=prefer, weights=Weights(votes=votes)))
    assert msgspec.json.decode(msgspec.json.encode(found))["object"] == "judgment"


async def test_the_route_judges_ones_own_traces_and_files(tmp_path: Path) -> None:
    async with FakeEndpoint("The answer is 4.") as upstream, showing(upstream.url, tmp_path, TENANTS) as served:
        id_ = await ask(served, ACME)
        calls = len(upstream.requests)
        url = served.url.removesuffix("/v1") + "/ui/api/judge"
        good = {"trace": {"query": {"messages": []}, "method": "routemoa"}}
        async with aiohttp.ClientSession() as session:
            for headers, body, status in (
                (ACME, {"id": id_}, 200),
                (OTHER, {"id": id_}, 404),
                (None, {"id": id_}, 401),
                (ACME, {"answer": good}, 200),
                (ACME, {"answer": {"trace": 7}}, 400),
                (ACME, {"answer": good, "policy": {"target": 2}}, 400),
                (ACME, {"answer": good, "policy": {"weights": {"votes": -1}}}, 400),
                (ACME, {"answer": good, "policy": {"judge": "/etc/passwd"}}, 400),
            ):
                async with session.post(url, json=body, headers=headers) as reply:
                    assert reply.status == status, (body, await reply.text())
        assert len(upstream.requests) == calls
