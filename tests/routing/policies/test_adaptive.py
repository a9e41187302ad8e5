"""The adaptive policy on hand-made traces: which models it calls, when it stops and why, which answer stands."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from routemoa.core.failure_kind import FailureKind
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.trace import Assessment, Failure, Layer, Proposal, Ranking, Trace
from routemoa.core.types import ModelSpec, Query, Scores
from routemoa.core.usage import Usage
from routemoa.judging.judge_model import JudgeModel
from routemoa.judging.posterior import ErrorCorrelation, probability_any_right
from routemoa.routing.decision import Decision, failed_models, latest_answers
from routemoa.routing.latency import CallEstimates
from routemoa.routing.policies.adaptive import AdaptivePolicy
from routemoa.routing.state import HYSTERESIS_MARGIN

ESSAY = "Those who plant {0} in spring and water {0} well, with patience and care, will harvest {0} in the autumn."
DERIVED = "We add the two numbers, carry the one, look at it from every side, and in the end there is nothing to state."


def adaptive(
    priors: Scores,
    judge_model: JudgeModel = JudgeModel(),  # noqa: B008  (frozen)
    prices: dict[str, float] | None = None,
    seconds: dict[str, float] | None = None,
    **mixture: Any,
) -> AdaptivePolicy:
    specs = tuple(
        ModelSpec(n, "local", n, prior=p, output_price=(prices or {}).get(n), latency=(seconds or {}).get(n))
        for n, p in priors.items()
    )
    return AdaptivePolicy(specs, Mixture(**mixture), judge_model, frozenset())


def correlated(pair: str, near: float = 0.95) -> JudgeModel:
    return JudgeModel(correlation=ErrorCorrelation(pairwise_error_correlation={pair: near}))


def proposal(model: str, text: str) -> Proposal:
    return Proposal(model, text, Usage(), None, None)


def layer(**texts: str) -> Layer:
    return Layer(tuple(texts), tuple(proposal(m, t) for m, t in texts.items()))


def trace(priors: Scores, *layers: Layer, ranking: Ranking = ()) -> Trace:
    return Trace(Query.from_text("?"), "routemoa", priors, ranking, layers)


def run_loop(policy: AdaptivePolicy, priors: Scores, texts: Mapping[str, str | None]) -> tuple[Trace, list[Decision]]:
    """Run the loop without calls: a model whose text is None fails, and the next in the ranking replaces it."""
    decisions = [policy.initial(priors, CallEstimates())]
    trace_so_far = trace(priors, ranking=decisions[0].ranking)
    while decisions[-1].stop is None:
        now = decisions[-1]
        assert now.models, "either models are called or there is a reason to stop"
        assert len(trace_so_far.layers) < 20
        taken = {*now.models, *failed_models(trace_so_far), *(p.model for p in latest_answers(trace_so_far))}
        reserve = [r.model for r in now.ranking if r.model not in taken]
        queue, proposals, failures = list(now.models), [], []
        while queue:
            name = queue.pop(0)
            if (text := texts[name]) is not None:
                proposals.append(proposal(name, text))
                continue
            failures.append(Failure(name, "down", FailureKind.HTTP_ERROR, Usage(0, 0, 0, 0), 1.0, 0.0))
            queue += [reserve.pop(0)] if reserve else []
        shown = tuple(p.model for p in now.references or ()) if now.options.quote_answers else ()
        quoted = {p.model: shown for p in proposals} if shown else {}
        done = Layer(now.models, tuple(proposals), tuple(failures), why=now.selection_reason, quoted=quoted)
        trace_so_far = replace(trace_so_far, layers=(*trace_so_far.layers, done))
        decisions.append(policy.update(trace_so_far, CallEstimates()))
        done = replace(done, scores=decisions[-1].scores, ranking=decisions[-1].ranking)
        trace_so_far = replace(trace_so_far, layers=(*trace_so_far.layers[:-1], done))
    return trace_so_far, decisions


def names(ranking: Ranking) -> str:
    return "".join(r.model for r in ranking)


# --- which models to call first


def test_a_model_that_towers_answers_alone_and_the_trace_says_so() -> None:
    priors: Scores = {"a": 0.97, "b": 0.4, "c": 0.4}
    done, decisions = run_loop(adaptive(priors), priors, dict.fromkeys("abc", "The answer is 4."))
    assert decisions[0].models == ("a",)
    assert (
        decisions[0].selection_reason == "one model alone: 0.97 likely right, and another call is not expected to pay"
    )
    assert [layer.selected for layer in done.layers] == [("a",)]
    assert str(decisions[-1].stop).startswith("one model alone: a at 0.9")
    assert (decisions[-1].choice, decisions[-1].aggregate) == ("a", False)


def test_a_pool_of_one_stops_because_no_model_is_left() -> None:
    _, decisions = run_loop(adaptive({"a": 0.5}), {"a": 0.5}, {"a": "4"})
    assert str(decisions[-1].stop) == "no model left to call"
    assert decisions[-1].choice == "a"


@pytest.mark.parametrize("target", [0.7, 0.8, 0.85])
def test_the_first_panel_is_the_smallest_that_reaches_the_target(target: float) -> None:
    priors: Scores = dict.fromkeys("abcdefgh", 0.5)
    policy = adaptive(priors, top_k=8, target=target)
    call = policy.initial(priors, CallEstimates()).models

    def chance(size: int) -> float:
        return probability_any_right([0.5] * size, ErrorCorrelation())

    assert len(call) > 2
    assert chance(len(call)) >= target > chance(len(call) - 1)


def test_the_first_panel_never_exceeds_top_k_nor_all_calls() -> None:
    priors: Scores = dict.fromkeys("abcdefgh", 0.5)
    assert len(adaptive(priors, target=1.0).initial(priors, CallEstimates()).models) == 2
    assert len(adaptive(priors, target=1.0, top_k=5).initial(priors, CallEstimates()).models) == 5
    assert len(adaptive(priors, target=1.0, top_k=5, max_models=3).initial(priors, CallEstimates()).models) == 3
    assert len(adaptive(priors, target=1.0, top_k=5, max_models=1).initial(priors, CallEstimates()).models) == 1


def test_a_near_duplicate_is_called_after_those_that_err_differently() -> None:
    priors: Scores = {"a": 0.6, "b": 0.59, "c": 0.55, "d": 0.5}

    def panel(judge_model: JudgeModel, **more: Any) -> tuple[str, ...]:
        return adaptive(priors, judge_model, top_k=3, target=1.0, **more).initial(priors, CallEstimates()).models

    assert panel(JudgeModel()) == ("a", "b", "c")
    assert panel(correlated("a|b")) == ("a", "c", "d")
    assert panel(correlated("b|c")) == ("a", "b", "d")  # correlated with the second, not with the first
    assert panel(correlated("a|b", 0.05)) == ("a", "b", "c")  # 0.59 less a twentieth is still more than 0.55


def test_correlated_errors_of_two_change_nothing_for_the_others() -> None:
    """Prices, ties and rates still order the models without a correlated one."""
    priors: Scores = {"a": 0.6, "b": 0.59, "c": 0.6, "d": 0.59, "e": 0.3, "f": 0.3}
    prices = {"a": 1.0, "b": 9.0, "c": 5.0, "d": 2.0, "e": 1.0, "f": 1.0}
    for more in ({}, {"dollars_per_point": 0.1}, {"prefer": "cheap"}):
        calls = [
            adaptive(priors, j, prices, top_k=4, target=1.0, **more).initial(priors, CallEstimates()).models
            for j in (JudgeModel(), correlated("e|f"))
        ]
        assert calls[0] == calls[1] == ("a", "d", "c", "b")


def test_the_same_answer_of_correlated_models_counts_less() -> None:
    priors: Scores = {"a": 0.6, "b": 0.6}
    agreed = trace(priors, layer(a="4", b="4"))
    assert adaptive(priors, correlated("a|b", 1.0)).read_panel(agreed).posterior.leader_probability == pytest.approx(
        0.6, abs=0.03
    )
    assert adaptive(priors).read_panel(agreed).posterior.leader_probability > 0.85


# --- growing and stopping


def test_disagreement_grows_the_panel_one_by_one_until_an_answer_leads() -> None:
    priors: Scores = dict.fromkeys("abcdef", 0.6)
    done, decisions = run_loop(adaptive(priors), priors, {"a": "4", "b": "5", "c": "6", "d": "4", "e": "4", "f": "4"})
    assert [layer.selected for layer in done.layers][:3] == [("a", "b"), ("c",), ("d",)]
    assert all(len(layer.selected) == 1 for layer in done.layers[1:])
    assert decisions[-1].choice in {"a", "d", "e", "f"}
    assert decisions[1].selection_reason.startswith("1 more would add")


def test_agreement_stops_and_names_the_models_that_agree() -> None:
    priors: Scores = dict.fromkeys("abc", 0.75)
    done, decisions = run_loop(adaptive(priors), priors, {"a": "It is 4.", "b": "The answer is 4.", "c": "5"})
    assert len(done.layers) == 1
    assert str(decisions[-1].stop).startswith("agreed: a, b gave the same answer; further calls would add ")


def test_what_is_nearly_certain_stops_as_sure() -> None:
    priors: Scores = dict.fromkeys("abc", 0.9)
    done = trace(priors, layer(a="4", b="4"))
    reason = str(adaptive(priors, stop_confidence=0.9).update(done, CallEstimates()).stop)
    assert reason.startswith("sure: a, b at 0.9")
    assert reason.endswith("is above 0.9")


def test_ambiguous_queries_stop_where_no_model_left_could_tell() -> None:
    priors: Scores = {**dict.fromkeys("abc", 0.6), **dict.fromkeys("defg", 0.05)}
    done, decisions = run_loop(
        adaptive(priors), priors, {"a": "4", "b": "5", "c": "6"} | {n: f"answer: {i}" for i, n in enumerate("defg", 10)}
    )
    assert {p.model for p in latest_answers(done)} == {"a", "b", "c"}
    assert str(decisions[-1].stop).startswith("no further evidence expected: further calls would add ")
    assert decisions[-1].choice == "a"


def test_a_leader_is_displaced_only_beyond_the_noise() -> None:
    def choice(newcomer: float) -> str | None:
        priors: Scores = {"a": 0.6, "b": newcomer, "c": 0.2}
        policy = adaptive(priors, prefer="quality", layers=2)
        done = trace(priors, layer(a="4"), layer(b="5"))
        state = policy.read_panel(done)
        better = state.posterior.probabilities[1] - state.posterior.probabilities[0]
        assert better > 0
        assert (better > HYSTERESIS_MARGIN) == (state.leader == 1)
        return policy.update(done, CallEstimates()).choice

    assert choice(0.605) == "a"
    assert choice(0.7) == "b"


def test_equals_keep_an_earlier_order() -> None:
    """Within `tie` the earlier ranking stands, even against a price."""
    priors: Scores = {"a": 0.6, "b": 0.6, "c": 0.6}
    policy = adaptive(priors, prices={"a": 3.0, "b": 2.0, "c": 1.0})
    first = policy.initial(priors, CallEstimates()).ranking
    assert names(first) == "cba"
    first_layer = layer(c="4", b="5")
    later = policy.update(trace(priors, first_layer, ranking=first), CallEstimates()).ranking
    assert names(later).index("c") < names(later).index("b")
    other_way = tuple(reversed(first))
    later = policy.update(trace(priors, first_layer, ranking=other_way), CallEstimates()).ranking
    assert names(later).index("b") < names(later).index("c")


def test_few_layers_call_several_at_once() -> None:
    priors: Scores = dict.fromkeys("abcdef", 0.6)
    done = trace(priors, layer(a="4", b="4", c="5"))  # it would take more than one to turn this

    def call(**mixture: Any) -> tuple[str, ...]:
        return adaptive(priors, prefer="quality", stop_confidence=1.0, **mixture).update(done, CallEstimates()).models

    assert call(top_k=3, layers=9) == ("d",)
    assert call(top_k=3, layers=3) == ("d", "e")
    assert call(top_k=3, layers=2) == ("d", "e", "f")
    assert call(top_k=1, layers=2) == ("d",)
    assert call(top_k=3, layers=2, max_models=4) == ("d",)


def test_a_failed_layer_a_full_panel_and_the_last_layer_stop() -> None:
    priors: Scores = dict.fromkeys("abcd", 0.6)
    apart = layer(a="4", b="5")
    down = Layer(("c",), (), (Failure("c", "down", FailureKind.HTTP_ERROR, Usage(0, 0, 0, 0), 1.0, 0.0),))

    def why(*layers: Layer, **mixture: Any) -> str | None:
        reason = adaptive(priors, **mixture).update(trace(priors, *layers), CallEstimates()).stop
        return None if reason is None else str(reason)

    assert why(apart) is None
    assert why(apart, down) == "no new answer: every model of the layer failed"
    assert why(apart, max_models=2) == "panel complete: 2 of at most 2 models have answered"
    assert why(apart, layers=1) == "last layer: 1 of 1"
    assert why(apart, layer(c="6", d="7")) == "no model left to call"


def test_when_every_model_failed_there_is_no_choice() -> None:
    priors: Scores = dict.fromkeys("abc", 0.6)
    _, decisions = run_loop(adaptive(priors), priors, dict.fromkeys("abc"))
    assert (str(decisions[-1].stop), decisions[-1].choice, decisions[-1].final_answers) == (
        "no model left to call",
        None,
        (),
    )


# --- what the user prefers


def test_prefer_words_change_how_many_models_are_called_and_which_first() -> None:
    priors: Scores = dict.fromkeys("abcdefgh", 0.62)
    texts: dict[str, str | None] = dict(zip("abcdefgh", "45465445", strict=True))
    calls = {p: run_loop(adaptive(priors, prefer=p), priors, texts)[0] for p in ("quality", "balanced", "cheap")}
    heard_of = {p: len(latest_answers(done)) for p, done in calls.items()}
    assert heard_of["quality"] > heard_of["cheap"]
    assert heard_of["quality"] >= heard_of["balanced"] >= heard_of["cheap"]
    near: Scores = {"a": 0.70, "b": 0.65}
    prices, seconds = {"a": 5.0, "b": 1.0}, {"a": 1.0, "b": 9.0}
    order = {
        p: names(adaptive(near, JudgeModel(), prices, seconds, prefer=p).initial(near, CallEstimates()).ranking)
        for p in ("quality", "balanced", "cheap", "fast")
    }
    assert order == {"quality": "ab", "balanced": "ab", "cheap": "ba", "fast": "ab"}
    slow = {"a": 9.0, "b": 1.0}
    assert (
        names(adaptive(near, JudgeModel(), prices, slow, prefer="fast").initial(near, CallEstimates()).ranking) == "ba"
    )


def test_a_price_in_points_changes_which_model_is_called() -> None:
    priors: Scores = {"dear": 0.8, "cheap": 0.75, "other": 0.7}
    prices = {"dear": 100.0, "cheap": 1.0, "other": 1.0}

    def first(rate: float | None) -> str:
        return adaptive(priors, prices=prices, dollars_per_point=rate).initial(priors, CallEstimates()).models[0]

    assert first(None) == "dear"
    assert first(1.0) == "dear"  # 300 tokens for 3 cents, a point is worth a dollar
    assert first(0.001) == "cheap"  # 3 cents are 30 points


def test_a_second_in_points_counts_what_was_measured_before_what_the_file_says() -> None:
    priors: Scores = {"slow": 0.8, "quick": 0.75}
    policy = adaptive(priors, seconds={"slow": 20.0, "quick": 1.0}, seconds_per_point=1.0)
    assert policy.initial(priors, CallEstimates()).models[0] == "quick"
    assert policy.initial(priors, CallEstimates(seconds={"slow": 2.0})).models[0] == "slow"


def test_rates_decide_when_it_stops() -> None:
    priors: Scores = dict.fromkeys("abcdef", 0.6)
    prices = dict.fromkeys("abcdef", 10.0)  # 0.3 cents a call
    texts: dict[str, str | None] = dict(zip("abcdef", "456445", strict=True))
    called = [
        len(latest_answers(run_loop(adaptive(priors, prices=prices, dollars_per_point=rate), priors, texts)[0]))
        for rate in (0.00001, 0.0005, 1.0)
    ]
    assert called[0] == 1
    assert called[0] < called[1] < called[2]


def test_calls_that_cost_nothing_are_still_not_made_for_nothing() -> None:
    """Under rates, models without a price are free: only a gain makes them worth calling."""
    priors: Scores = {"a": 0.9, "b": 0.9, **dict.fromkeys("cdefgh", 0.001)}
    done = trace(priors, layer(a="4", b="4"))
    decision = adaptive(priors, dollars_per_point=0.01, stop_confidence=1.0).update(done, CallEstimates())
    assert str(decision.stop).startswith("agreed: a, b gave the same answer; further calls would add 0.0 points")


# --- which answer stands, and whether an aggregator writes


def test_answers_that_are_refined_get_references_judges_and_an_aggregator() -> None:
    priors: Scores = dict.fromkeys("abc", 0.6)
    texts: dict[str, str | None] = {
        n: ESSAY.format(w) for n, w in zip("abc", ("wheat", "roses", "apples"), strict=True)
    }
    done, decisions = run_loop(
        adaptive(priors, prefer="quality", later_layers="refine", self_assessment="spoken"), priors, texts
    )
    assert len(done.layers) > 1
    ask, quoted = decisions[1].options, decisions[1].references
    assert (ask.self_assessment, ask.cross_assessment, ask.quote_answers) == (True, True, True)
    assert quoted is not None
    assert [p.model for p in quoted] == ["a", "b"]
    assert decisions[-1].aggregate
    assert decisions[-1].final_answers[0].model == decisions[-1].choice
    assert len(decisions[-1].final_answers) == len(latest_answers(done))


def test_open_answers_that_are_alike_need_no_second_copy() -> None:
    priors: Scores = dict.fromkeys("ab", 0.6)
    text = ESSAY.format("wheat")
    decision = adaptive(priors).update(trace(priors, layer(a=text, b=text + " Yes.")), CallEstimates())
    assert [p.model for p in decision.final_answers] == ["a"]
    assert not decision.aggregate


def test_closed_answers_stay_independent_and_the_best_one_stands() -> None:
    priors: Scores = dict.fromkeys("abcd", 0.6)
    _, decisions = run_loop(adaptive(priors), priors, {"a": "4", "b": "5", "c": "5", "d": "5"})
    for decision in decisions[1:-1]:
        assert (decision.options.cross_assessment, decision.options.quote_answers, decision.references) == (
            False,
            False,
            (),
        )
    assert not decisions[-1].aggregate
    assert decisions[-1].choice in {"b", "c", "d"}
    refined = adaptive(priors, later_layers="refine").update(trace(priors, layer(a="4", b="5")), CallEstimates())
    assert (refined.options.cross_assessment, refined.options.quote_answers) == (True, True)
    assert [p.model for p in refined.references or ()] == ["a", "b"]


def test_references_are_the_best_different_ones_within_their_tokens_or_all() -> None:
    priors: Scores = {"a": 0.6, "b": 0.55, "c": 0.5, "d": 0.6, "e": 0.6}
    done = trace(priors, layer(a="4", b="The answer is 4.", c="5"))

    def quoted(**mixture: Any) -> list[str]:
        decision = adaptive(priors, later_layers="refine", prefer="quality", stop_confidence=1.0, **mixture)
        found = decision.update(done, CallEstimates())
        assert found.stop is None
        return [p.model for p in found.references or ()]

    assert quoted() == ["a", "c"]
    assert quoted(references="all") == ["a", "b", "c"]
    assert quoted(reference_tokens=1) == ["a", "c"]  # two characters
    long = replace(done, layers=(layer(a="Answer: 4" + "\n" * 40, c="5"),))
    found = adaptive(priors, later_layers="refine", prefer="quality", stop_confidence=1.0, reference_tokens=1).update(
        long, CallEstimates()
    )
    assert [p.model for p in found.references or ()] == ["a"]  # at least one


def test_an_answer_that_states_no_result_never_wins_a_closed_question() -> None:
    priors: Scores = {"a": 0.98, "b": 0.05, "c": 0.05}
    done = trace(priors, layer(a=DERIVED, b="The answer is 4.", c="The answer is 5."))
    decision = adaptive(priors, max_models=3).update(done, CallEstimates())
    assert decision.choice in {"b", "c"}
    assert decision.final_answers[0].model == decision.choice


def test_a_short_refusal_does_not_beat_a_long_answer() -> None:
    priors: Scores = {"a": 0.6, "b": 0.7}
    decision = adaptive(priors).update(trace(priors, layer(a="Sorry, no.", b=ESSAY.format("wheat"))), CallEstimates())
    assert decision.choice == "b"


def test_peers_and_self_assessments_move_the_choice() -> None:
    priors: Scores = dict.fromkeys("abc", 0.6)
    answers = layer(a="4", b="5")
    views = (Assessment("c", "a", "cross", 0.1), Assessment("c", "b", "cross", 0.9))
    judged = adaptive(priors).update(trace(priors, replace(answers, assessments=views)), CallEstimates())
    assert judged.choice == "b"
    self_views = (Assessment("a", "a", "self", 0.2), Assessment("b", "b", "self", 0.9))
    assert (
        adaptive(priors).update(trace(priors, replace(answers, assessments=self_views)), CallEstimates()).choice == "b"
    )
    self_praise = (Assessment("b", "b", "cross", 1.0), Assessment("b", "a", "cross", 0.0))
    assert (
        adaptive(priors).update(trace(priors, replace(answers, assessments=self_praise)), CallEstimates()).choice == "a"
    )


def test_unknown_priors_are_the_mean_of_the_known() -> None:
    priors: Scores = {"a": 0.9, "b": None, "c": 0.5}
    decision = adaptive(priors).initial(priors, CallEstimates())
    assert [(r.model, r.performance) for r in decision.ranking] == [("a", 0.9), ("b", 0.7), ("c", 0.5)]
    unknown: Scores = dict.fromkeys("ab")
    assert adaptive(unknown).initial(unknown, CallEstimates()).models == ("a", "b")


# --- laws

TEXTS = st.sampled_from(["4", "The answer is 5.", "6", DERIVED, ESSAY.format("wheat"), ESSAY.format("roses"), None])
WORLDS = st.dictionaries(st.sampled_from("abcdefgh"), st.tuples(st.none() | st.floats(0, 1), TEXTS), min_size=1)
MIXTURES = st.fixed_dictionaries(
    {"prefer": st.sampled_from(["quality", "balanced", "cheap", "fast"])},
    optional={
        "top_k": st.integers(1, 4),
        "layers": st.integers(1, 4),
        "max_models": st.integers(1, 6),
        "later_layers": st.sampled_from(["auto", "fresh", "refine"]),
        "references": st.sampled_from(["best", "all"]),
        "stop_confidence": st.sampled_from([0.0, 0.5, 1.0]),
        "target": st.sampled_from([0.5, 1.0]),
        "dollars_per_point": st.sampled_from([0.0001, 1.0]),
    },
)
JUDGE_MODELS = st.sampled_from(
    [JudgeModel(), correlated("a|b"), JudgeModel(correlation=ErrorCorrelation(0.0, 0.5, {"a|c": 0.5, "b|c": 1.0}))]
)


@given(WORLDS, MIXTURES, JUDGE_MODELS)
def test_caps_are_kept_failures_are_final_and_every_loop_ends(
    world: dict[str, tuple[float | None, str | None]], mixture: dict[str, Any], judge_model: JudgeModel
) -> None:
    priors: Scores = {n: p for n, (p, _) in world.items()}
    texts = {n: t for n, (_, t) in world.items()}
    policy = adaptive(priors, judge_model, dict.fromkeys("abcd", 5.0), **mixture)
    done, decisions = run_loop(policy, priors, texts)
    m = policy.mixture
    assert len(done.layers) <= m.max_layers
    assert len(latest_answers(done)) <= m.max_models
    called = [n for d in decisions for n in d.models]
    assert len(called) == len(set(called)) or any(d.samples for d in decisions)
    assert len(called) <= max(m.max_models, len(set(called)))
    for i, d in enumerate(decisions):
        assert len(d.models) <= m.max_layer_models
        before = trace(priors, *done.layers[:i])
        assert not set(d.models) & failed_models(before)
        assert sorted(names(d.ranking)) == sorted(priors)
        assert all(s is None or 0 <= s <= 1 for s in d.scores.values())
        assert (d.stop is None) == bool(d.models)
    last = decisions[-1]
    assert (last.choice is None) == (not latest_answers(done))
    if last.choice is not None:
        assert last.final_answers[0].model == last.choice
        assert len({(p.model, p.text) for p in last.final_answers}) == len(last.final_answers)


@given(WORLDS, MIXTURES, st.integers(0, 9))
def test_the_same_trace_gives_the_same_decision_in_whatever_order_answers_came(
    world: dict[str, tuple[float | None, str | None]], mixture: dict[str, Any], seed: int
) -> None:
    priors: Scores = {n: p for n, (p, _) in world.items()}
    policy = adaptive(priors, **mixture)
    done, decisions = run_loop(policy, priors, {n: t for n, (_, t) in world.items()})
    assert (
        policy.update(done, CallEstimates()) == decisions[-1]
    )  # with the last layer's scores and ranking in the trace
    first = done.layers[0]
    mixed = Random(seed).sample(first.proposals, len(first.proposals))
    one, other = (policy.update(replace(done, layers=(replace(first, proposals=tuple(p)),)), CallEstimates())
                  for p in (first.proposals, mixed))  # fmt: skip
    assert one.scores == pytest.approx(other.scores)
