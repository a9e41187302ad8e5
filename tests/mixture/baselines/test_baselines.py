"""The rival mixtures on scripted models: who is called, what they see, what it costs, what survives a failure."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from routemoa.core import events as t
from routemoa.core.errors import AllModelsFailed, ConfigError, InvalidResponse, ModelHTTPError, ModelTimeout
from routemoa.core.pool_file import pool as pools
from routemoa.core.pool_file.pool import Pool
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.trace import Answer
from routemoa.core.trace_builder import fold_events
from routemoa.core.types import Completion, ModelSpec, Query, Request, Token, from_json, to_json
from routemoa.core.usage import Usage
from routemoa.mixture.baselines.best_single import aggregator_candidates, choose_best_model
from routemoa.mixture.baselines.cascade import LOGPROB, SPOKEN
from routemoa.mixture.method_registry import METHODS, build_method, method_names
from routemoa.testing import ScriptedClient

LONG = "This takes more words than a short answer, so that {} is no plain statement of a result, and it goes on and on."
WHY = Query.from_text("why?")
RIVALS = [m for m in METHODS if m != "routemoa"]


def pool_of(mixture: dict[str, Any] | None = None, **priors: float | None) -> Pool:
    """A pool of members with these priors; every price is a dollar per million tokens."""
    specs = [ModelSpec(n, "http://127.0.0.1:9/v1", n, None, 1.0, 1.0, prior=p) for n, p in priors.items()]
    return Pool(tuple(specs), Mixture(**({"top_k": 3, "layers": 3} | (mixture or {}))))


def speaks(spec: ModelSpec, request: Request) -> str:
    """An answer of many words that names its model and how many answers it was shown."""
    return LONG.format(f"{spec.name}/{turn(request).count('<answer id=')}")


def turn(request: Request) -> str:
    return request.messages[-1].content


def spent(answer: Answer, client: ScriptedClient) -> None:
    """All calls, and nothing else, are in the trace's account."""
    assert answer.trace.calls == len(client.calls)
    read = sum(sum(len(m.content.split()) for m in c.request.messages) for c in client.calls)
    assert answer.trace.usage.prompt_tokens == read
    assert answer.trace.usage.completion_tokens is not None
    assert answer.trace.cost == pytest.approx((read + answer.trace.usage.completion_tokens) / 1e6)


def test_every_method_has_a_name_and_no_member_may_have_it() -> None:
    pool = pool_of(a=0.5)
    assert method_names(pool) == (*METHODS, "single:a")
    assert [build_method(pool, name, ScriptedClient({})).name for name in method_names(pool)] == [*METHODS, "single:a"]
    assert set(pools.METHODS) == set(METHODS)
    with pytest.raises(ConfigError, match="did you mean 'smoa'"):
        build_method(pool, "smoaa", ScriptedClient({}))


@pytest.mark.parametrize("name", RIVALS)
async def test_every_rival_answers_accounts_for_its_calls_and_leaves_a_trace_that_is_the_fold(name: str) -> None:
    client = ScriptedClient(dict.fromkeys("abcd", speaks))
    method = build_method(pool_of(a=0.3, b=0.5, c=0.7, d=0.6), name, client)
    events = [e async for e in method.stream(WHY)]
    answer = fold_events(events)
    assert isinstance(events[0], t.Started)
    assert isinstance(events[-1], t.Done)
    assert answer.trace.method == name
    assert answer.text
    assert answer.trace.stop_reason
    assert answer.trace.latency is not None
    assert [from_json(to_json(e), t.AnyEvent) for e in events] == events  # type: ignore[arg-type]
    assert from_json(to_json(answer), Answer) == answer
    spent(answer, client)


@pytest.mark.parametrize("name", RIVALS)
async def test_only_when_nobody_is_left_does_a_rival_fail_and_says_why(name: str) -> None:
    client = ScriptedClient({n: ModelHTTPError(n, f"HTTP 500 of {n}", status=500) for n in "abcd"})
    with pytest.raises(AllModelsFailed) as caught:
        await build_method(pool_of(a=0.3, b=0.5, c=0.7, d=0.6), name, client).answer(WHY)
    assert "c: HTTP 500 of c" in str(caught.value)


@pytest.mark.parametrize("name", RIVALS)
async def test_a_reader_who_leaves_ends_every_call(name: str) -> None:
    client = ScriptedClient(dict.fromkeys("abcd", LONG), delay=30)
    before = asyncio.all_tasks()
    async with aclosing(build_method(pool_of(a=0.3, b=0.5, c=0.7, d=0.6), name, client).stream(WHY)) as events:
        async for event in events:
            if isinstance(event, t.ProposalStarted):
                await asyncio.sleep(0)
                assert client.running
                break
            if isinstance(event, t.CallStarted):
                break
    assert client.running == 0
    assert asyncio.all_tasks() == before


# --- MoA


async def test_moa_asks_everybody_in_every_layer_and_shows_them_the_layer_before() -> None:
    client = ScriptedClient(dict.fromkeys("abcd", speaks))
    answer = await build_method(pool_of(a=0.3, b=0.5, c=0.7, d=0.6), "moa", client).answer(WHY)
    assert len(client.calls) == 4 * 3 + 1
    assert [len(layer.proposals) for layer in answer.trace.layers] == [4, 4, 4]
    assert {c.model: turn(c.request) for c in client.calls[:4]} == dict.fromkeys("abcd", "why?")
    for call in client.calls[4:8]:
        assert sorted(re.findall(r"that (\w)/0 is", turn(call.request))) == ["a", "b", "c", "d"]
    quotes = re.findall(r'<answer id="(.)">\n.*that (\w)/4 is', turn(client.calls[-1].request))
    assert quotes == [("A", "a"), ("B", "b"), ("C", "c"), ("D", "d")]  # of the last layer, in the pool's order
    assert answer.trace.aggregator == client.calls[-1].model == "c"  # the highest prior
    assert answer.trace.stop_reason == "last layer: 3 of 3"
    assert "assessment" not in "".join(turn(c.request) for c in client.calls)


async def test_moa_aggregates_also_when_all_agree_and_with_the_pool_files_aggregator() -> None:
    client = ScriptedClient(dict.fromkeys("ab", "The answer is 4."))
    pool = pool_of({"layers": 1, "aggregator": "a"}, a=0.3, b=0.5)
    answer = await build_method(pool, "moa", client).answer(Query.from_text("2+2?", "S"))
    assert [c.model for c in client.calls] == ["a", "b", "a"]
    assert "one final answer" in turn(client.calls[-1].request)
    assert answer.trace.aggregator == "a"
    assert all(c.request.messages[0].content == "S" for c in client.calls)


async def test_moa_has_three_layers_where_the_pool_file_leaves_it_open() -> None:
    pool = msgspec.json.decode(b'{"layers": 3}', type=Mixture)
    open_ = Pool(pool_of(a=0.5).models, msgspec.structs.replace(pool, layers=None))
    client = ScriptedClient({"a": speaks})
    await build_method(open_, "moa", client).answer(WHY)
    assert len(client.calls) == 4


async def test_moa_goes_on_with_those_that_answered() -> None:
    down = ModelHTTPError("b", "HTTP 500", status=500)
    client = ScriptedClient({"a": speaks, "b": down, "c": [LONG.format("c/0"), ModelTimeout("c", "slow")]})
    answer = await build_method(pool_of(a=0.3, b=0.9, c=0.5), "moa", client).answer(WHY)
    assert [[p.model for p in layer.proposals] for layer in answer.trace.layers] == [["a", "c"], ["a"], ["a"]]
    assert [[f.model for f in layer.failures] for layer in answer.trace.layers] == [["b"], ["c"], []]
    assert answer.trace.aggregator == "a"  # b, the best, and c have failed
    assert answer.trace.cost is not None
    assert answer.trace.charged is not None
    assert answer.trace.charged > answer.trace.cost  # c reported nothing, and its call may have been billed


async def test_moas_earlier_answers_stand_when_a_later_layer_fails() -> None:
    client = ScriptedClient({n: [LONG.format(f"{n}/0"), ModelTimeout(n, "slow")] for n in "ab"})
    answer = await build_method(pool_of(a=0.3, b=0.5), "moa", client).answer(WHY)
    assert answer.text == LONG.format("a/0")
    assert answer.trace.stop_reason == "no model left to call"
    assert answer.trace.aggregator is None


async def test_a_failing_aggregator_is_replaced_and_its_words_are_void() -> None:
    def script(spec: ModelSpec, request: Request) -> Any:
        if "one final answer" not in turn(request):
            return speaks(spec, request)
        return {"b": InvalidResponse("b", "cut", produced=True), "c": " ", "a": "final by a"}[spec.name]

    client = ScriptedClient(dict.fromkeys("abc", script))
    answer = await build_method(pool_of({"layers": 1}, a=0.3, b=0.9, c=0.5), "moa", client).answer(WHY)
    assert answer.text == "final by a"
    assert [(f.model, f.kind) for f in answer.trace.failures] == [("b", "Garbled"), ("c", "Garbled")]
    assert answer.trace.aggregator == "a"
    assert answer.trace.calls == 6


# --- Self-MoA


async def test_self_moa_samples_the_best_model_and_lets_it_aggregate() -> None:
    seen: list[dict[str, Any]] = []

    def script(spec: ModelSpec, request: Request) -> str:
        seen.append({**request.parameters, **spec.parameters})
        return LONG.format(f"sample {len(seen)}")

    client = ScriptedClient({"b": script})
    query = msgspec.structs.replace(WHY, parameters={"seed": 7, "temperature": 0.0, "max_tokens": 50})
    answer = await build_method(pool_of(a=0.3, b=0.5), "self-moa", client).answer(query)
    assert [c.model for c in client.calls] == ["b"] * 4
    assert [p["seed"] for p in seen] == [7, 8, 9, 7]  # the aggregator: as the caller asked
    assert [p["temperature"] for p in seen] == [0.7, 0.7, 0.7, 0.0]
    assert all(p["max_tokens"] == 50 for p in seen)
    layer = answer.trace.layers[0]
    assert layer.selected == ("b", "b", "b")
    assert sorted(p.text for p in layer.proposals) == [LONG.format(f"sample {i}") for i in (1, 2, 3)]
    assert turn(client.calls[-1].request).count("<answer id=") == 3
    assert answer.trace.aggregator == "b"
    assert answer.trace.stop_reason == "3 of 3 samples of b: the highest prior, 0.5"
    spent(answer, client)


async def test_self_moa_leaves_a_members_own_temperature_and_draws_two_at_least() -> None:
    pool = pool_of({"top_k": 1}, a=0.3)
    spec = msgspec.structs.replace(pool["a"], parameters={"temperature": 0.2, "seed": -1})
    seen: list[dict[str, Any]] = []

    def script(spec: ModelSpec, request: Request) -> str:
        seen.append(spec.parameters)
        return LONG

    await build_method(Pool((spec,), pool.mixture), "self-moa", ScriptedClient({"a": script})).answer(WHY)
    assert [(p["temperature"], p["seed"]) for p in seen[:2]] == [(0.2, 2**31 - 1), (0.2, 0)]
    assert len(seen) == 3


async def test_self_moa_draws_from_a_model_whose_temperature_is_fixed_at_zero() -> None:
    pool = pool_of({"top_k": 1}, a=0.3)
    spec = msgspec.structs.replace(pool["a"], parameters={"temperature": 0.0})
    seen: list[dict[str, Any]] = []

    def script(spec: ModelSpec, request: Request) -> str:
        seen.append(spec.parameters)
        return LONG

    await build_method(Pool((spec,), pool.mixture), "self-moa", ScriptedClient({"a": script})).answer(WHY)
    assert [p["temperature"] for p in seen] == [0.7, 0.7, 0.0], "the aggregator writes as the model does"


async def test_self_moa_goes_on_with_the_samples_that_came() -> None:
    client = ScriptedClient({"a": [LONG.format("one"), ModelTimeout("a", "slow"), LONG.format("two"), "final"]})
    answer = await build_method(pool_of(a=0.3), "self-moa", client).answer(WHY)
    assert answer.text == "final"
    assert (answer.trace.stop_reason or "").startswith("2 of 3 samples of a")
    assert len(answer.trace.layers[0].failures) == 1


# --- the best single model


def scorer_folder(tmp_path: Path, chosen: Any) -> Path:
    (tmp_path / "manifest.json").write_text(json.dumps({"format": 2, "chosen": chosen, "files": {}}))
    return tmp_path


def test_the_best_model_is_the_one_with_the_highest_prior() -> None:
    assert choose_best_model(pool_of(a=None, b=0.2, c=0.6, d=0.6)).spec.name == "c"
    assert choose_best_model(pool_of(a=None, b=0.0)).spec.name == "b"  # missing is not zero: it cannot be chosen
    nobody = choose_best_model(pool_of(a=None, b=None))
    assert nobody.spec.name == "a"
    assert nobody.why == "no model has a prior, so the first of the pool"


def test_the_scorers_records_go_before_the_priors(tmp_path: Path) -> None:
    pool = pool_of(a=0.9, b=0.2, c=None)
    members = (*pool.models[:2], msgspec.structs.replace(pool["c"], model="org/model-c"))
    for told, name, words in (
        ("b", "b", "training records"),
        ("org/model-c", "c", "training records"),
        ("stranger", "a", "the scorer's best, stranger, is not in the pool"),
        (None, "a", "the highest prior, 0.9"),
    ):
        found = choose_best_model(Pool(members, scorer=scorer_folder(tmp_path, {"best_single": told})))
        assert found.spec.name == name
        assert words in found.why
    assert choose_best_model(Pool(members, scorer=scorer_folder(tmp_path, None))).spec.name == "a"
    assert choose_best_model(Pool.embedded()).spec.name == "coder-1.5b"


def test_who_writes_is_named_or_best_then_the_others_by_prior() -> None:
    pool = pool_of(a=None, b=0.2, c=0.6, d=0.4)
    assert [m.name for m in aggregator_candidates(pool, pool["c"])] == ["c", "d", "b", "a"]
    named = pool_of({"aggregator": "a"}, a=None, b=0.2, c=0.6, d=0.4)
    assert [m.name for m in aggregator_candidates(named, named["c"], {"d"})] == ["a", "c", "b"]


async def test_the_best_single_model_behaves_as_single_and_says_which_and_why() -> None:
    client = ScriptedClient({"b": "Hello."})
    events = [e async for e in build_method(pool_of(a=0.3, b=0.5), "best-single", client).stream(WHY)]
    answer = fold_events(events)
    assert answer.text == "Hello."
    assert sum(isinstance(e, t.AnswerDelta) for e in events) == 2  # it streams
    assert answer.trace.method == "best-single"
    assert answer.trace.stop_reason == "b alone: the highest prior, 0.5"
    assert [c.model for c in client.calls] == ["b"]


# --- a random panel


def panels(queries: list[Query]) -> list[tuple[str, ...]]:
    async def all_() -> list[tuple[str, ...]]:
        pool = pool_of(None, **dict.fromkeys("abcdefgh", 0.5))
        out = []
        for query in queries:
            answer = await build_method(pool, "random", ScriptedClient(dict.fromkeys("abcdefgh", speaks))).answer(query)
            out.append(answer.trace.layers[0].selected)
        return out

    return asyncio.run(all_())


def test_a_random_panel_is_the_same_again_for_the_same_query_and_seed() -> None:
    queries = [Query.from_text(f"question {i}") for i in range(20)]
    once = panels(queries)
    assert panels(queries) == once
    assert once[0] == ("e", "a", "d")  # also in another process, whatever its hash seed
    assert {len(set(p)) for p in once} == {3}
    assert len(set(once)) > 10
    assert set("".join(m for p in once for m in p)) == set("abcdefgh")
    seeded = [msgspec.structs.replace(q, parameters={"seed": 1}) for q in queries]
    assert panels(seeded) == panels(seeded)
    assert len(set(panels(seeded))) > 10  # one seed for a whole evaluation is not one panel for all of it
    assert panels(seeded) != once


async def test_a_random_panel_has_routemoas_aggregator_rule_and_a_reserve() -> None:
    client = ScriptedClient(dict.fromkeys("abc", "The answer is 4."))
    answer = await build_method(pool_of({"top_k": 2}, a=0.3, b=0.5, c=0.4), "random", client).answer(WHY)
    assert len(client.calls) == 2
    assert answer.trace.aggregator is None  # they agree
    assert (answer.trace.stop_reason or "").startswith("one layer: 2 of 3 models drawn by the query's text")
    first = answer.trace.layers[0].selected[0]
    script: dict[str, Any] = dict.fromkeys("abc", speaks) | {first: ModelTimeout(first, "slow")}
    client = ScriptedClient(script)
    answer = await build_method(pool_of({"top_k": 2}, a=0.3, b=0.5, c=0.4), "random", client).answer(WHY)
    assert len(answer.trace.layers[0].proposals) == 2
    assert answer.trace.aggregator == ("b" if first != "b" else "c")  # the best of the pool, if it has not failed


# --- a cascade


def tiers(mixture: dict[str, Any] | None = None) -> Pool:
    """Members from dear to cheap, one of unknown price, two of equal price of which one is faster."""
    base = ModelSpec("", "http://127.0.0.1:9/v1")

    def member(name: str, **keys: Any) -> ModelSpec:
        return msgspec.structs.replace(base, name=name, model=name, **keys)

    members = (
        member("unknown", latency=0.1),
        member("dear", output_price=9.0, input_price=1.0),
        member("slow", output_price=2.0, input_price=1.0, latency=5.0),
        member("fast", output_price=2.0, input_price=1.0, latency=1.0),
        member("cheap", output_price=1.0, input_price=1.0),
    )
    return Pool(members, Mixture(**(mixture or {})))


def sure(text: str, value: object) -> str:
    return f'{LONG.format(text)}\n<assessment>{{"self": {json.dumps(value)}}}</assessment>'


async def test_a_cascade_asks_the_cheapest_first_and_stops_when_one_is_confident() -> None:
    client = ScriptedClient(
        {
            "cheap": sure("cheap", 0.5),
            "fast": sure("fast", "no idea"),
            "slow": sure("slow", SPOKEN),
            "dear": "",
        }
    )
    answer = await build_method(tiers(), "cascade", client).answer(WHY)
    assert [c.model for c in client.calls] == ["cheap", "fast", "slow"]
    assert all(turn(c.request).startswith("why?") and "<answer" not in turn(c.request) for c in client.calls)
    assert [[a.value for a in layer.assessments] for layer in answer.trace.layers] == [[0.5], [None], [SPOKEN]]
    assert answer.text == LONG.format("slow")
    assert answer.trace.stop_reason == "confident: slow at 0.900 (spoken) is at least 0.9, 3 of 5 asked"
    assert answer.trace.aggregator is None
    assert answer.trace.calls == 3


async def test_a_cascades_most_confident_answer_stands_when_none_is_confident() -> None:
    script = {"cheap": 0.3, "fast": 0.6, "slow": 0.6, "dear": 0.1, "unknown": "?"}
    client = ScriptedClient({name: sure(name, value) for name, value in script.items()})
    answer = await build_method(tiers(), "cascade", client).answer(WHY)
    assert [c.model for c in client.calls] == ["cheap", "fast", "slow", "dear", "unknown"]
    assert answer.text == LONG.format("slow")  # of two as confident, the dearer
    assert answer.trace.stop_reason == "last model: none is confident, the most is slow at 0.600 (spoken), below 0.9"


async def test_a_cascade_passes_over_failures_and_says_when_no_confidence_can_be_read() -> None:
    client = ScriptedClient(
        {
            "cheap": "without",
            "fast": ModelTimeout("fast", "slow"),
            "slow": sure("slow", 7),
            "dear": "",
            "unknown": "last without",
        }
    )
    answer = await build_method(tiers(), "cascade", client).answer(WHY)
    assert answer.text == "last without"
    assert answer.trace.stop_reason == "last model: 5 of 5 asked, no readable confidence (spoken)"
    assert [len(layer.failures) for layer in answer.trace.layers] == [0, 1, 0, 1, 0]


async def test_a_cascades_confidence_may_be_the_log_probability() -> None:
    def said(logprob: float) -> Completion:
        return Completion("Four.", Usage(1, 1), "stop", tokens=(Token("Four.", logprob),))

    client = ScriptedClient({"cheap": said(-0.3), "fast": said(-0.1)})
    answer = await build_method(tiers({"self_assessment": "logprob"}), "cascade", client).answer(WHY)
    assert [c.model for c in client.calls] == ["cheap", "fast"]
    assert all(c.request.logprobs and turn(c.request) == "why?" for c in client.calls)
    assert (answer.trace.stop_reason or "").startswith("confident: fast at 0.905 (log-probability)")
    assert f"at least {LOGPROB:g}" in (answer.trace.stop_reason or "")
