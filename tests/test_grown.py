"""Our loop's decisions on hand-made traces: whom to call, when to stop and why, whose answer stands."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from routemoa.core.pool import Mixture
from routemoa.core.types import Assessment, Failure, Layer, ModelSpec, Proposal, Query, Ranking, Scores, Trace, Usage
from routemoa.judging.evidence import Judging
from routemoa.judging.posterior import Correlation, any_right
from routemoa.routing.adaptive import Grown
from routemoa.routing.decision import Decision, failed, heard
from routemoa.routing.latency import Expected
from routemoa.routing.state import NOISE

ESSAY = "Those who plant {0} in spring and water {0} well, with patience and care, will harvest {0} in the autumn."
DERIVED = "We add the two numbers, carry the one, look at it from every side, and in the end there is nothing to state."


def grown(
    priors: Scores,
    judging: Judging = Judging(),  # noqa: B008  (frozen)
    prices: dict[str, float] | None = None,
    seconds: dict[str, float] | None = None,
    **mixture: Any,
) -> Grown:
    specs = tuple(
        ModelSpec(n, "local", n, prior=p, output_price=(prices or {}).get(n), latency=(seconds or {}).get(n))
        for n, p in priors.items()
    )
    return Grown(specs, Mixture(**mixture), judging, frozenset())


def kin(pair: str, near: float = 0.95) -> Judging:
    return Judging(correlation=Correlation(kinship={pair: near}))


def said(model: str, text: str) -> Proposal:
    return Proposal(model, text, Usage(), None, None)


def layer(**texts: str) -> Layer:
    return Layer(tuple(texts), tuple(said(m, t) for m, t in texts.items()))


def trace(priors: Scores, *layers: Layer, ranking: Ranking = ()) -> Trace:
    return Trace(Query.of("?"), "routemoa", priors, ranking, layers)


def walk(policy: Grown, priors: Scores, texts: Mapping[str, str | None]) -> tuple[Trace, list[Decision]]:
    """The engine's loop without an engine: a model whose text is None fails, and the next as ranked takes its place."""
    decided = [policy.opening(priors, Expected())]
    so_far = trace(priors, ranking=decided[0].ranking)
    while decided[-1].stop is None:
        now = decided[-1]
        assert now.call, "either models are called or there is a reason to stop"
        assert len(so_far.layers) < 20
        taken = {*now.call, *failed(so_far), *(p.model for p in heard(so_far))}
        reserve = [r.model for r in now.ranking if r.model not in taken]
        queue, proposals, failures = list(now.call), [], []
        while queue:
            name = queue.pop(0)
            if (text := texts[name]) is not None:
                proposals.append(said(name, text))
                continue
            failures.append(Failure(name, "down", "Refused", Usage(0, 0, 0, 0), 1.0, 0.0))
            queue += [reserve.pop(0)] if reserve else []
        shown = tuple(p.model for p in now.quoted or ()) if now.ask.quote else ()
        quoted = {p.model: shown for p in proposals} if shown else {}
        done = Layer(now.call, tuple(proposals), tuple(failures), why=now.why, quoted=quoted)
        so_far = replace(so_far, layers=(*so_far.layers, done))
        decided.append(policy.judged(so_far, Expected()))
        done = replace(done, scores=decided[-1].scores, ranking=decided[-1].ranking)
        so_far = replace(so_far, layers=(*so_far.layers[:-1], done))
    return so_far, decided


def names(ranking: Ranking) -> str:
    return "".join(r.model for r in ranking)


# --- whom to call first


def test_a_model_that_towers_answers_alone_and_the_trace_says_so() -> None:
    priors: Scores = {"a": 0.97, "b": 0.4, "c": 0.4}
    done, decided = walk(grown(priors), priors, dict.fromkeys("abc", "The answer is 4."))
    assert decided[0].call == ("a",)
    assert decided[0].why == "one model alone: 0.97 likely right, and another call is not expected to pay"
    assert [layer.selected for layer in done.layers] == [("a",)]
    assert decided[-1].stop is not None
    assert decided[-1].stop.startswith("one model alone: a at 0.9")
    assert (decided[-1].choice, decided[-1].write) == ("a", False)


def test_a_pool_of_one_is_no_gate_but_has_nobody_else() -> None:
    _, decided = walk(grown({"a": 0.5}), {"a": 0.5}, {"a": "4"})
    assert decided[-1].stop == "no model left to call"
    assert decided[-1].choice == "a"


@pytest.mark.parametrize("target", [0.7, 0.8, 0.85])
def test_the_first_panel_is_the_smallest_that_reaches_the_target(target: float) -> None:
    priors: Scores = dict.fromkeys("abcdefgh", 0.5)
    policy = grown(priors, top_k=8, target=target)
    call = policy.opening(priors, Expected()).call

    def chance(size: int) -> float:
        return any_right([0.5] * size, Correlation())

    assert len(call) > 2
    assert chance(len(call)) >= target > chance(len(call) - 1)


def test_the_first_panel_never_exceeds_top_k_nor_all_calls() -> None:
    priors: Scores = dict.fromkeys("abcdefgh", 0.5)
    assert len(grown(priors, target=1.0).opening(priors, Expected()).call) == 2
    assert len(grown(priors, target=1.0, top_k=5).opening(priors, Expected()).call) == 5
    assert len(grown(priors, target=1.0, top_k=5, calls=3).opening(priors, Expected()).call) == 3
    assert len(grown(priors, target=1.0, top_k=5, calls=1).opening(priors, Expected()).call) == 1


def test_a_near_duplicate_is_called_after_those_that_err_differently() -> None:
    priors: Scores = {"a": 0.6, "b": 0.59, "c": 0.55, "d": 0.5}

    def panel(judging: Judging, **more: Any) -> tuple[str, ...]:
        return grown(priors, judging, top_k=3, target=1.0, **more).opening(priors, Expected()).call

    assert panel(Judging()) == ("a", "b", "c")
    assert panel(kin("a|b")) == ("a", "c", "d")
    assert panel(kin("b|c")) == ("a", "b", "d")  # kin of the second, not of the first
    assert panel(kin("a|b", 0.05)) == ("a", "b", "c")  # 0.59 less a twentieth is still more than 0.55


def test_kinship_of_two_changes_nothing_for_the_others() -> None:
    """Prices, ties and rates go on to order those who have no kin."""
    priors: Scores = {"a": 0.6, "b": 0.59, "c": 0.6, "d": 0.59, "e": 0.3, "f": 0.3}
    prices = {"a": 1.0, "b": 9.0, "c": 5.0, "d": 2.0, "e": 1.0, "f": 1.0}
    for more in ({}, {"dollars_per_point": 0.1}, {"prefer": "cheap"}):
        calls = [
            grown(priors, j, prices, top_k=4, target=1.0, **more).opening(priors, Expected()).call
            for j in (Judging(), kin("e|f"))
        ]
        assert calls[0] == calls[1] == ("a", "d", "c", "b")


def test_the_same_answer_of_kin_counts_less() -> None:
    priors: Scores = {"a": 0.6, "b": 0.6}
    agreed = trace(priors, layer(a="4", b="4"))
    assert grown(priors, kin("a|b", 1.0)).state(agreed).belief.sure == pytest.approx(0.6, abs=0.03)
    assert grown(priors).state(agreed).belief.sure > 0.85


# --- growing and stopping


def test_disagreement_grows_the_panel_one_by_one_until_an_answer_leads() -> None:
    priors: Scores = dict.fromkeys("abcdef", 0.6)
    done, decided = walk(grown(priors), priors, {"a": "4", "b": "5", "c": "6", "d": "4", "e": "4", "f": "4"})
    assert [layer.selected for layer in done.layers][:3] == [("a", "b"), ("c",), ("d",)]
    assert all(len(layer.selected) == 1 for layer in done.layers[1:])
    assert decided[-1].choice in {"a", "d", "e", "f"}
    assert decided[1].why.startswith("1 more would add")


def test_agreement_stops_and_names_those_who_agree() -> None:
    priors: Scores = dict.fromkeys("abc", 0.75)
    done, decided = walk(grown(priors), priors, {"a": "It is 4.", "b": "The answer is 4.", "c": "5"})
    assert len(done.layers) == 1
    assert (decided[-1].stop or "").startswith("agreed: a, b gave the same answer; further calls would add ")


def test_what_is_nearly_certain_stops_as_sure() -> None:
    priors: Scores = dict.fromkeys("abc", 0.9)
    done = trace(priors, layer(a="4", b="4"))
    reason = grown(priors, stop_above=0.9).judged(done, Expected()).stop
    assert (reason or "").startswith("sure: a, b at 0.9")
    assert (reason or "").endswith("is above 0.9")


def test_ambiguous_queries_stop_where_nobody_left_could_tell() -> None:
    priors: Scores = {**dict.fromkeys("abc", 0.6), **dict.fromkeys("defg", 0.05)}
    done, decided = walk(
        grown(priors), priors, {"a": "4", "b": "5", "c": "6"} | {n: f"answer: {i}" for i, n in enumerate("defg", 10)}
    )
    assert {p.model for p in heard(done)} == {"a", "b", "c"}
    assert (decided[-1].stop or "").startswith("no further evidence expected: further calls would add ")
    assert decided[-1].choice == "a"


def test_a_leader_is_displaced_only_beyond_the_noise() -> None:
    def choice(newcomer: float) -> str | None:
        priors: Scores = {"a": 0.6, "b": newcomer, "c": 0.2}
        policy = grown(priors, prefer="quality", layers=2)
        done = trace(priors, layer(a="4"), layer(b="5"))
        state = policy.state(done)
        better = state.belief.right[1] - state.belief.right[0]
        assert better > 0
        assert (better > NOISE) == (state.leader == 1)
        return policy.judged(done, Expected()).choice

    assert choice(0.605) == "a"
    assert choice(0.7) == "b"


def test_an_order_once_given_outlasts_the_noise() -> None:
    """Within `tie` the earlier ranking stands, even against a price."""
    priors: Scores = {"a": 0.6, "b": 0.6, "c": 0.6}
    policy = grown(priors, prices={"a": 3.0, "b": 2.0, "c": 1.0})
    first = policy.opening(priors, Expected()).ranking
    assert names(first) == "cba"
    told = layer(c="4", b="5")
    later = policy.judged(trace(priors, told, ranking=first), Expected()).ranking
    assert names(later).index("c") < names(later).index("b")
    other_way = tuple(reversed(first))
    later = policy.judged(trace(priors, told, ranking=other_way), Expected()).ranking
    assert names(later).index("b") < names(later).index("c")


def test_few_layers_call_several_at_once() -> None:
    priors: Scores = dict.fromkeys("abcdef", 0.6)
    done = trace(priors, layer(a="4", b="4", c="5"))  # it would take more than one to turn this

    def call(**mixture: Any) -> tuple[str, ...]:
        return grown(priors, prefer="quality", stop_above=1.0, **mixture).judged(done, Expected()).call

    assert call(top_k=3, layers=9) == ("d",)
    assert call(top_k=3, layers=3) == ("d", "e")
    assert call(top_k=3, layers=2) == ("d", "e", "f")
    assert call(top_k=1, layers=2) == ("d",)
    assert call(top_k=3, layers=2, calls=4) == ("d",)


def test_a_failed_layer_a_full_panel_and_the_last_layer_stop() -> None:
    priors: Scores = dict.fromkeys("abcd", 0.6)
    apart = layer(a="4", b="5")
    down = Layer(("c",), (), (Failure("c", "down", "Refused", Usage(0, 0, 0, 0), 1.0, 0.0),))

    def why(*layers: Layer, **mixture: Any) -> str | None:
        return grown(priors, **mixture).judged(trace(priors, *layers), Expected()).stop

    assert why(apart) is None
    assert why(apart, down) == "no new answer: every model of the layer failed"
    assert why(apart, calls=2) == "panel complete: 2 of at most 2 models have answered"
    assert why(apart, layers=1) == "last layer: 1 of 1"
    assert why(apart, layer(c="6", d="7")) == "no model left to call"


def test_when_everybody_failed_there_is_no_choice() -> None:
    priors: Scores = dict.fromkeys("abc", 0.6)
    _, decided = walk(grown(priors), priors, dict.fromkeys("abc"))
    assert (decided[-1].stop, decided[-1].choice, decided[-1].final) == ("no model left to call", None, ())


# --- what a person wants


def test_prefer_words_change_how_much_is_called_and_who_goes_first() -> None:
    priors: Scores = dict.fromkeys("abcdefgh", 0.62)
    texts: dict[str, str | None] = dict(zip("abcdefgh", "45465445", strict=True))
    calls = {p: walk(grown(priors, prefer=p), priors, texts)[0] for p in ("quality", "balanced", "cheap")}
    heard_of = {p: len(heard(done)) for p, done in calls.items()}
    assert heard_of["quality"] > heard_of["cheap"]
    assert heard_of["quality"] >= heard_of["balanced"] >= heard_of["cheap"]
    near: Scores = {"a": 0.70, "b": 0.65}
    prices, seconds = {"a": 5.0, "b": 1.0}, {"a": 1.0, "b": 9.0}
    order = {
        p: names(grown(near, Judging(), prices, seconds, prefer=p).opening(near, Expected()).ranking)
        for p in ("quality", "balanced", "cheap", "fast")
    }
    assert order == {"quality": "ab", "balanced": "ab", "cheap": "ba", "fast": "ab"}
    slow = {"a": 9.0, "b": 1.0}
    assert names(grown(near, Judging(), prices, slow, prefer="fast").opening(near, Expected()).ranking) == "ba"


def test_a_price_in_points_changes_whom_is_called() -> None:
    priors: Scores = {"dear": 0.8, "cheap": 0.75, "other": 0.7}
    prices = {"dear": 100.0, "cheap": 1.0, "other": 1.0}

    def first(rate: float | None) -> str:
        return grown(priors, prices=prices, dollars_per_point=rate).opening(priors, Expected()).call[0]

    assert first(None) == "dear"
    assert first(1.0) == "dear"  # 300 tokens for 3 cents, a point is worth a dollar
    assert first(0.001) == "cheap"  # 3 cents are 30 points


def test_a_second_in_points_counts_what_was_measured_before_what_the_file_says() -> None:
    priors: Scores = {"slow": 0.8, "quick": 0.75}
    policy = grown(priors, seconds={"slow": 20.0, "quick": 1.0}, seconds_per_point=1.0)
    assert policy.opening(priors, Expected()).call[0] == "quick"
    assert policy.opening(priors, Expected(seconds={"slow": 2.0})).call[0] == "slow"


def test_rates_decide_when_it_stops() -> None:
    priors: Scores = dict.fromkeys("abcdef", 0.6)
    prices = dict.fromkeys("abcdef", 10.0)  # 0.3 cents a call
    texts: dict[str, str | None] = dict(zip("abcdef", "456445", strict=True))
    called = [
        len(heard(walk(grown(priors, prices=prices, dollars_per_point=rate), priors, texts)[0]))
        for rate in (0.00001, 0.0005, 1.0)
    ]
    assert called[0] == 1
    assert called[0] < called[1] < called[2]


def test_calls_that_cost_nothing_are_still_not_made_for_nothing() -> None:
    """Under rates, models without a price are free: only a gain makes them worth calling."""
    priors: Scores = {"a": 0.9, "b": 0.9, **dict.fromkeys("cdefgh", 0.001)}
    done = trace(priors, layer(a="4", b="4"))
    decision = grown(priors, dollars_per_point=0.01, stop_above=1.0).judged(done, Expected())
    assert (decision.stop or "").startswith("agreed: a, b gave the same answer; further calls would add 0.0 points")


# --- whose answer stands, and who writes


def test_open_answers_that_differ_get_references_and_an_aggregator() -> None:
    priors: Scores = dict.fromkeys("abc", 0.6)
    texts: dict[str, str | None] = {
        n: ESSAY.format(w) for n, w in zip("abc", ("wheat", "roses", "apples"), strict=True)
    }
    done, decided = walk(grown(priors, prefer="quality"), priors, texts)
    assert len(done.layers) > 1
    ask, quoted = decided[1].ask, decided[1].quoted
    assert (ask.judging, ask.cross, ask.quote) == (True, True, True)
    assert quoted is not None
    assert [p.model for p in quoted] == ["a", "b"]
    assert decided[-1].write
    assert decided[-1].final[0].model == decided[-1].choice
    assert len(decided[-1].final) == len(heard(done))


def test_open_answers_that_are_alike_need_no_second_copy() -> None:
    priors: Scores = dict.fromkeys("ab", 0.6)
    text = ESSAY.format("wheat")
    decision = grown(priors).judged(trace(priors, layer(a=text, b=text + " Yes.")), Expected())
    assert [p.model for p in decision.final] == ["a"]
    assert not decision.write


def test_closed_answers_stay_independent_and_the_best_one_stands() -> None:
    priors: Scores = dict.fromkeys("abcd", 0.6)
    _, decided = walk(grown(priors), priors, {"a": "4", "b": "5", "c": "5", "d": "5"})
    for decision in decided[1:-1]:
        assert (decision.ask.cross, decision.ask.quote, decision.quoted) == (False, False, ())
    assert not decided[-1].write
    assert decided[-1].choice in {"b", "c", "d"}
    refined = grown(priors, later="refine").judged(trace(priors, layer(a="4", b="5")), Expected())
    assert (refined.ask.cross, refined.ask.quote) == (True, True)
    assert [p.model for p in refined.quoted or ()] == ["a", "b"]


def test_references_are_the_best_different_ones_within_their_tokens_or_all() -> None:
    priors: Scores = {"a": 0.6, "b": 0.55, "c": 0.5, "d": 0.6, "e": 0.6}
    done = trace(priors, layer(a="4", b="The answer is 4.", c="5"))

    def quoted(**mixture: Any) -> list[str]:
        decision = grown(priors, later="refine", prefer="quality", stop_above=1.0, **mixture)
        found = decision.judged(done, Expected())
        assert found.stop is None
        return [p.model for p in found.quoted or ()]

    assert quoted() == ["a", "c"]
    assert quoted(references="all") == ["a", "b", "c"]
    assert quoted(reference_tokens=1) == ["a", "c"]  # two characters
    long = replace(done, layers=(layer(a="Answer: 4" + "\n" * 40, c="5"),))
    found = grown(priors, later="refine", prefer="quality", stop_above=1.0, reference_tokens=1).judged(long, Expected())
    assert [p.model for p in found.quoted or ()] == ["a"]  # at least one


def test_an_answer_that_states_no_result_never_wins_a_closed_question() -> None:
    priors: Scores = {"a": 0.98, "b": 0.05, "c": 0.05}
    done = trace(priors, layer(a=DERIVED, b="The answer is 4.", c="The answer is 5."))
    decision = grown(priors, calls=3).judged(done, Expected())
    assert decision.choice in {"b", "c"}
    assert decision.final[0].model == decision.choice


def test_a_short_refusal_does_not_beat_a_long_answer() -> None:
    priors: Scores = {"a": 0.6, "b": 0.7}
    decision = grown(priors).judged(trace(priors, layer(a="Sorry, no.", b=ESSAY.format("wheat"))), Expected())
    assert decision.choice == "b"


def test_peers_and_self_assessments_move_the_choice() -> None:
    priors: Scores = dict.fromkeys("abc", 0.6)
    heard_ = layer(a="4", b="5")
    views = (Assessment("c", "a", "cross", 0.1), Assessment("c", "b", "cross", 0.9))
    judged = grown(priors).judged(trace(priors, replace(heard_, assessments=views)), Expected())
    assert judged.choice == "b"
    own = (Assessment("a", "a", "self", 0.2), Assessment("b", "b", "self", 0.9))
    assert grown(priors).judged(trace(priors, replace(heard_, assessments=own)), Expected()).choice == "b"
    vain = (Assessment("b", "b", "cross", 1.0), Assessment("b", "a", "cross", 0.0))
    assert grown(priors).judged(trace(priors, replace(heard_, assessments=vain)), Expected()).choice == "a"


def test_unknown_priors_are_the_mean_of_the_known() -> None:
    priors: Scores = {"a": 0.9, "b": None, "c": 0.5}
    decision = grown(priors).opening(priors, Expected())
    assert [(r.model, r.performance) for r in decision.ranking] == [("a", 0.9), ("b", 0.7), ("c", 0.5)]
    nobody: Scores = dict.fromkeys("ab")
    assert grown(nobody).opening(nobody, Expected()).call == ("a", "b")


# --- laws

TEXTS = st.sampled_from(["4", "The answer is 5.", "6", DERIVED, ESSAY.format("wheat"), ESSAY.format("roses"), None])
WORLDS = st.dictionaries(st.sampled_from("abcdefgh"), st.tuples(st.none() | st.floats(0, 1), TEXTS), min_size=1)
MIXTURES = st.fixed_dictionaries(
    {"prefer": st.sampled_from(["quality", "balanced", "cheap", "fast"])},
    optional={
        "top_k": st.integers(1, 4),
        "layers": st.integers(1, 4),
        "calls": st.integers(1, 6),
        "later": st.sampled_from(["auto", "fresh", "refine"]),
        "references": st.sampled_from(["best", "all"]),
        "stop_above": st.sampled_from([0.0, 0.5, 1.0]),
        "target": st.sampled_from([0.5, 1.0]),
        "dollars_per_point": st.sampled_from([0.0001, 1.0]),
    },
)
JUDGINGS = st.sampled_from(
    [Judging(), kin("a|b"), Judging(correlation=Correlation(0.0, 0.5, {"a|c": 0.5, "b|c": 1.0}))]
)


@given(WORLDS, MIXTURES, JUDGINGS)
def test_caps_are_kept_failures_are_final_and_every_loop_ends(
    world: dict[str, tuple[float | None, str | None]], mixture: dict[str, Any], judging: Judging
) -> None:
    priors: Scores = {n: p for n, (p, _) in world.items()}
    texts = {n: t for n, (_, t) in world.items()}
    policy = grown(priors, judging, dict.fromkeys("abcd", 5.0), **mixture)
    done, decided = walk(policy, priors, texts)
    m = policy.mixture
    assert len(done.layers) <= m.most_layers
    assert len(heard(done)) <= m.calls
    called = [n for d in decided for n in d.call]
    assert len(called) == len(set(called))
    for i, d in enumerate(decided):
        assert len(d.call) <= m.most_models
        before = trace(priors, *done.layers[:i])
        assert not set(d.call) & failed(before)
        assert sorted(names(d.ranking)) == sorted(priors)
        assert all(s is None or 0 <= s <= 1 for s in d.scores.values())
        assert (d.stop is None) == bool(d.call)
    last = decided[-1]
    assert (last.choice is None) == (not heard(done))
    if last.choice is not None:
        assert last.final[0].model == last.choice
        assert len({p.model for p in last.final}) == len(last.final)


@given(WORLDS, MIXTURES, st.integers(0, 9))
def test_the_same_trace_gives_the_same_decision_in_whatever_order_answers_came(
    world: dict[str, tuple[float | None, str | None]], mixture: dict[str, Any], seed: int
) -> None:
    priors: Scores = {n: p for n, (p, _) in world.items()}
    policy = grown(priors, **mixture)
    done, decided = walk(policy, priors, {n: t for n, (_, t) in world.items()})
    assert policy.judged(done, Expected()) == decided[-1]  # with the last layer's scores and ranking in the trace
    first = done.layers[0]
    mixed = Random(seed).sample(first.proposals, len(first.proposals))
    one, other = (policy.judged(replace(done, layers=(replace(first, proposals=tuple(p)),)), Expected())
                  for p in (first.proposals, mixed))  # fmt: skip
    assert one.scores == pytest.approx(other.scores)
