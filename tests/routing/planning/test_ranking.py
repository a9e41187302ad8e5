"""Ranking is a stable total order; selection follows the file's numbers."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from routemoa.core.trace import RankedModel
from routemoa.core.types import ModelSpec
from routemoa.routing.planning.ranking import RankingOptions, call_penalty, rank_models, select_models

maybe = st.none() | st.sampled_from([0.0, 0.25, 0.5, 1.0])
specs = st.lists(
    st.builds(ModelSpec, st.uuids().map(str), st.just("local"), input_price=maybe, output_price=maybe, latency=maybe),
    unique_by=lambda m: m.name,
    max_size=6,
)


def spec(
    name: str, output: float | None = None, input_: float | None = None, latency: float | None = None
) -> ModelSpec:
    return ModelSpec(name, "local", output_price=output, input_price=input_, latency=latency)


def names(ranking: tuple[RankedModel, ...]) -> str:
    return "".join(r.model for r in ranking)


def test_performance_then_output_price_then_input_price_then_latency_then_place() -> None:
    pool = [
        spec("a", 2.0),
        spec("b", 1.0, 2.0),
        spec("c", 1.0, 1.0, 9.0),
        spec("d", 1.0, 1.0, 3.0),
        spec("e"),
        spec("f"),
    ]
    scores = dict.fromkeys("abcdef", 0.5) | {"f": 0.6}
    ranking = rank_models(pool, scores)
    assert names(ranking) == "fdcbae"
    assert [r.why for r in ranking] == [
        "best",
        "0.100 behind the best",
        "as good as d, latency higher",
        "as good as c, input price higher",
        "as good as b, output price higher",
        "as good as a, output price unknown",
    ]
    assert (
        names(rank_models(pool, scores, RankingOptions({"c": 1.0}))) == "fcdbae"
    )  # measured latency replaces the file's


def test_a_vote_for_an_option_is_never_the_first_to_answer() -> None:
    model = replace(spec("x"), orders=2)
    models, scores = [replace(model, name="x~2", vote=2), model], {"x": 0.5, "x~2": 0.6}
    assert [r.model for r in rank_models(models, scores)] == ["x", "x~2"]
    assert [r.model for r in rank_models(models, scores, RankingOptions(previous_order=("x", "x~2")))] == ["x~2", "x"]


def test_unknown_performance_is_ranked_at_the_mean_and_says_so() -> None:
    ranking = rank_models([spec("a"), spec("b"), spec("c")], {"a": 0.2, "b": None, "c": 0.6})
    assert [(r.model, r.performance) for r in ranking] == [("c", 0.6), ("b", 0.4), ("a", 0.2)]
    assert "not scored" in ranking[1].why


def test_failed_models_come_last() -> None:
    ranking = rank_models([spec("a"), spec("b")], {"a": 0.9, "b": 0.1}, RankingOptions(failed={"a"}))
    assert names(ranking) == "ba"
    assert ranking[1].why == "failed in this query"


@given(specs, st.data())
def test_ranking_is_a_total_order_and_stable(pool: list[ModelSpec], data: st.DataObject) -> None:
    scores = {m.name: data.draw(maybe) for m in pool}
    ranking = rank_models(pool, scores)
    assert sorted(r.model for r in ranking) == sorted(m.name for m in pool)
    assert rank_models(pool, scores) == ranking
    again = [next(m for m in pool if m.name == r.model) for r in ranking]
    assert [r.model for r in rank_models(again, scores)] == [
        r.model for r in ranking
    ]  # sorting what is sorted changes nothing
    assert all(a.performance >= b.performance for a, b in pairwise(ranking))
    chosen = select_models(ranking, 3, 0.2)
    assert len(chosen) == len(set(chosen)) <= 3
    assert [r.model for r in ranking[: len(chosen)]] == list(chosen)
    assert all(0 <= r.performance <= 1 for r in ranking)


def test_selection_keeps_to_margin_top_k_and_those_left() -> None:
    ranking = rank_models([spec(n) for n in "abcd"], {"a": 0.9, "b": 0.75, "c": 0.7, "d": 0.69})
    assert select_models(ranking, 4, 0.2) == ("a", "b", "c")
    assert select_models(ranking, 2, 0.2) == ("a", "b")
    assert select_models(ranking, 3, 1.0) == ("a", "b", "c")
    assert select_models(ranking, 4, 0.05, {"a"}) == ("b", "c")  # within the margin of the best one left
    assert select_models((), 3, 0.2) == ()


def test_a_tie_goes_to_the_cheaper_then_the_faster() -> None:
    specs = [ModelSpec("big", "local", "b", latency=6.0), ModelSpec("small", "local", "s", latency=1.0)]
    scores = {"big": 0.80, "small": 0.77}
    assert [r.model for r in rank_models(specs, scores)] == ["big", "small"]
    assert [r.model for r in rank_models(specs, scores, RankingOptions(tie=0.05))] == ["small", "big"]
    assert [r.performance for r in rank_models(specs, scores, RankingOptions(tie=0.05))] == [0.77, 0.80]
    assert [r.model for r in rank_models(specs, {"big": 0.9, "small": 0.8}, RankingOptions(tie=0.05))] == [
        "big",
        "small",
    ]


def test_ties_do_not_chain() -> None:
    """What is equal to the second need not be equal to the first."""
    specs = [ModelSpec(n, "local", n, latency=s) for n, s in (("a", 3.0), ("b", 2.0), ("c", 1.0))]
    assert [r.model for r in rank_models(specs, {"a": 0.80, "b": 0.76, "c": 0.72}, RankingOptions(tie=0.05))] == [
        "b",
        "a",
        "c",
    ]


def test_latencies_of_the_same_tenth_of_a_second_are_equal() -> None:
    assert names(rank_models([spec("a"), spec("b")], {}, RankingOptions({"a": 0.021, "b": 0.019}))) == "ab"
    assert names(rank_models([spec("a"), spec("b")], {}, RankingOptions({"a": 0.3, "b": 0.1}))) == "ba"


def test_a_call_penalty_is_what_dollars_and_seconds_are_worth_in_probability() -> None:
    assert call_penalty(0.03, 5.0, 0.01, 10.0) == pytest.approx(0.01 * (3 + 0.5))
    assert call_penalty(0.03, 5.0, None, 10.0) == pytest.approx(0.005)
    assert call_penalty(0.03, 5.0, 0.01, None) == pytest.approx(0.03)
    assert call_penalty(None, None, 0.01, 10.0) == 0.0  # unknown weighs nothing
    assert call_penalty(0.03, 5.0, None, None) == 0.0


def test_penalties_lower_the_place_but_not_the_performance_shown() -> None:
    pool = [spec("a"), spec("b"), spec("c")]
    scores = {"a": 0.8, "b": 0.75, "c": 0.7}
    ranking = rank_models(pool, scores, RankingOptions(penalties={"a": 0.1, "c": 0.02}))
    assert [(r.model, r.performance) for r in ranking] == [("b", 0.75), ("a", 0.8), ("c", 0.7)]
    assert [r.why for r in ranking] == ["best", "0.050 behind the best", "0.070 behind the best"]
    assert (
        rank_models(pool, scores, RankingOptions(penalties={}))
        == rank_models(pool, scores, RankingOptions(penalties=dict.fromkeys("abc", 0.3)))
        == rank_models(pool, scores)
    )


def test_latency_first_puts_latency_before_the_prices() -> None:
    pool = [spec("cheap", 1.0, 1.0, 9.0), spec("fast", 9.0, 9.0, 1.0), spec("unknown", 0.5)]
    assert [r.model for r in rank_models(pool, {})] == ["unknown", "cheap", "fast"]
    ranking = rank_models(pool, {}, RankingOptions(latency_first=True))
    assert [r.model for r in ranking] == ["fast", "cheap", "unknown"]
    assert ranking[1].why.startswith("as good as fast, latency higher")
    assert ranking[2].why.startswith("as good as cheap, latency unknown")
    better = {"cheap": 0.9, "fast": 0.8, "unknown": 0.7}
    assert [r.model for r in rank_models(pool, better, RankingOptions(latency_first=True))] == [
        "cheap",
        "fast",
        "unknown",
    ]


def test_equals_keep_an_earlier_order_and_others_do_not() -> None:
    pool = [spec("a", 1.0), spec("b", 2.0), spec("c", 3.0)]
    near = {"a": 0.70, "b": 0.71, "c": 0.72}
    assert names(rank_models(pool, near, RankingOptions(tie=0.05))) == "abc"  # by price
    ranking = rank_models(pool, near, RankingOptions(tie=0.05, previous_order="cba"))
    assert names(ranking) == "cba"
    assert ranking[1].why == "within the noise of c, which was ahead"
    assert names(rank_models(pool, near, RankingOptions(previous_order="abc"))) == "cba"  # no tie, no noise
    assert (
        names(rank_models(pool, near | {"a": 0.9}, RankingOptions(tie=0.05, previous_order="cba"))) == "acb"
    )  # displaced by more than the noise
    assert (
        names(rank_models(pool, near, RankingOptions(tie=0.05, previous_order="c"))) == "cab"
    )  # new models come after
    assert names(rank_models(pool, near, RankingOptions(failed={"c"}, tie=0.05, previous_order="cba"))) == "bac"


@given(specs, st.floats(0, 0.3), st.booleans(), st.data())
def test_the_order_is_total_under_every_option(
    pool: list[ModelSpec], tie: float, latency_first: bool, data: st.DataObject
) -> None:
    scores = {m.name: data.draw(maybe) for m in pool}
    penalties = {m.name: data.draw(st.floats(0, 0.5)) for m in pool}
    previous = data.draw(st.permutations([m.name for m in pool]))
    options = RankingOptions(tie=tie, latency_first=latency_first, penalties=penalties, previous_order=previous)
    ranking = rank_models(pool, scores, options)
    assert sorted(r.model for r in ranking) == sorted(previous)
    net = {r.model: r.performance - penalties[r.model] for r in ranking}
    for i, above in enumerate(ranking):
        for below in ranking[i + 1 :]:
            assert net[below.model] - net[above.model] <= tie + 1e-8  # only within the noise does less go before more
    again = rank_models(pool, scores, replace(options, previous_order=[r.model for r in ranking]))
    assert [r.model for r in again] == [r.model for r in ranking]  # without news nothing moves
