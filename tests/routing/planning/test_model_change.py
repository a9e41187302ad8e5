"""A conversation keeps its model unless a change gains more than the lost prompt cache costs."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from routemoa.core.content.cache_marks import CacheControl, CachedPrompt, CacheMark
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.types import Message, ModelSpec, Query, Scores
from routemoa.judging.judge_model import JudgeModel
from routemoa.routing.decision import Decision
from routemoa.routing.latency import CallEstimates
from routemoa.routing.planning.model_change import find_lost_cache
from routemoa.routing.policies.adaptive import AdaptivePolicy

ASKS = "Describe the harbour."  # an open question: one model is asked
LONG = "The ships come and go. " * 1200
"""6,900 tokens."""


def priced(name: str, input: float = 2.5, output: float = 10.0, cached: float | None = 0.25, **more: Any) -> ModelSpec:
    return ModelSpec(name, "http://x/v1", name, input_price=input, output_price=output, cached_price=cached, **more)


def conversation(first: str = LONG, writer: str | None = "a", readers: tuple[str, ...] = ()) -> Query:
    turns = (Message("user", first), Message("assistant", "I see."), Message("user", ASKS))
    return Query(turns, cached=None if writer is None else CachedPrompt(writer, readers))


def decide(
    scores: Scores,
    query: Query,
    *specs: ModelSpec,
    estimates: CallEstimates = CallEstimates(),  # noqa: B008  (frozen)
    **mixture: Any,
) -> Decision:
    models = specs or (priced("a"), priced("b"))
    return AdaptivePolicy(models, Mixture(**mixture), JudgeModel(), frozenset()).initial(scores, estimates, query)


def test_a_little_better_does_not_pay_for_the_lost_cache() -> None:
    scores: Scores = {"a": 0.5, "b": 0.525}
    assert decide(scores, conversation(writer=None)).models == ("b",)
    kept = decide(scores, conversation())
    assert kept.models == ("a",)
    assert "a is kept, which wrote the last answer: b would add 2.5 points" in kept.selection_reason
    assert "the lost prompt cache costs as much as" in kept.selection_reason
    assert kept.ranking[0].why == "kept: it wrote the last answer"
    assert kept.ranking[1].why.startswith("b would add 2.5 points")
    assert kept.ranking[0].performance == 0.5, "what is shown is the prior"


def test_far_better_pays_and_the_reason_says_so() -> None:
    changed = decide({"a": 0.6, "b": 0.9}, conversation())
    assert changed.models == ("b",)
    assert "changed from a: b would add 30.0 points, and the lost prompt cache costs as much as" in (
        changed.selection_reason
    )
    assert "a wrote the last answer, too" in decide({"a": 0.9, "b": 0.6}, conversation()).selection_reason


def test_what_prefer_asks_of_a_call_is_what_the_cache_is_worth() -> None:
    scores: Scores = {"a": 0.6, "b": 0.66}
    models = [decide(scores, conversation(), prefer=p).models[0] for p in ("cheap", "balanced", "quality")]
    assert models == ["a", "b", "b"]


def test_the_users_rates_price_both_sides() -> None:
    scores: Scores = {"a": 0.6, "b": 0.66}  # 6,900 tokens for 2.25 dollars a million: a cent and a half
    assert decide(scores, conversation(), dollars_per_point=0.01).models == ("b",)
    assert decide(scores, conversation(), dollars_per_point=0.0005).models == ("a",)


def test_a_short_conversation_or_a_price_without_a_cache_loses_nothing() -> None:
    scores: Scores = {"a": 0.6, "b": 0.63}
    assert decide(scores, conversation("Hello.")).models == ("b",)
    without = (priced("a", cached=None), priced("b", cached=None))
    assert decide(scores, conversation(), *without).models == ("b",)


def test_equals_keep_the_model_unless_another_costs_less_in_all() -> None:
    equal: Scores = {"a": 0.6, "b": 0.61}
    cheaper = priced("b", output=9.0)
    assert decide(equal, conversation(writer=None), priced("a"), cheaper).models == ("b",)
    assert decide(equal, conversation(), priced("a"), cheaper).models == ("a",)
    far_cheaper = priced("b", input=0.1, output=0.4)
    changed = decide(equal, conversation(), priced("a"), far_cheaper)
    assert changed.models == ("b",)
    assert "b is no better and costs less in all" in changed.selection_reason


def test_a_model_that_has_read_the_conversation_loses_no_cache() -> None:
    scores: Scores = {"a": 0.6, "b": 0.63}
    assert decide(scores, conversation(readers=("b",))).models == ("b",)


def test_candidates_of_one_member_share_its_cache() -> None:
    specs = tuple(priced(n, member="m") for n in ("a", "b"))
    assert decide({"a": 0.6, "b": 0.63}, conversation(), *specs).models == ("b",)


def test_an_answer_with_the_options_in_another_order_is_its_models() -> None:
    kept = decide({"a": 0.5, "b": 0.525}, conversation(writer="a~2"), priced("a", orders=2), priced("b"))
    assert kept.models == ("a",)


@pytest.mark.parametrize("marked", [False, True])
def test_a_provider_that_charges_for_writing_caches_what_is_marked(marked: bool) -> None:
    specs = (priced("a", cache_write_price=3.0), priced("b", cache_write_price=3.0))
    query = conversation()
    if marked:
        first = Message("user", LONG, (CacheMark(len(LONG), CacheControl("ephemeral")),))
        query = replace(query, messages=(first, *query.messages[1:]))
    assert decide({"a": 0.5, "b": 0.525}, query, *specs).models == (("a",) if marked else ("b",))


def test_a_local_model_is_kept_for_the_seconds_of_reading() -> None:
    specs = tuple(ModelSpec(n, "local", n, input_price=0.0, output_price=0.0) for n in "ab")
    scores: Scores = {"a": 0.6, "b": 0.63}
    seconds = {"a": 3.0, "b": 3.0}
    known = CallEstimates(seconds=seconds, read_seconds={"a": 0.003, "b": 0.003})
    assert decide(scores, conversation(), *specs, estimates=known).models == ("a",)
    assert decide(scores, conversation(), *specs, estimates=CallEstimates(seconds=seconds)).models == ("b",)


def test_a_model_that_cannot_be_called_is_not_kept() -> None:
    gone = CallEstimates(unavailable=frozenset("a"))
    assert decide({"a": 0.6, "b": 0.5}, conversation(), estimates=gone).models == ("b",)
    assert decide({"a": 0.6, "b": 0.63}, conversation(writer="removed")).models == ("b",)


def test_a_cheap_models_cache_is_little_beside_a_call_of_a_dear_one() -> None:
    cheap, dear = priced("a", input=0.1, output=0.4, cached=0.01), priced("b", input=3.0, output=15.0, cached=0.3)
    assert decide({"a": 0.5, "b": 0.53}, conversation(), cheap, dear).models == ("b",)


def test_only_what_a_first_turn_would_choose_can_take_over() -> None:
    cheap, middle, dear = priced("a", 0.1, 0.4, 0.01), priced("b", 0.15, 0.6, 0.1), priced("c", 15.0, 75.0, 1.5)
    scores: Scores = {"a": 0.3, "b": 0.55, "c": 0.6}
    for query in (conversation(writer=None), conversation()):
        assert decide(scores, query, cheap, middle, dear, prefer="cheap", max_models=1).models == ("b",)


def test_at_the_users_rates_a_further_call_has_to_pay_for_reading_too() -> None:
    mixture = Mixture(dollars_per_point=0.0008)
    policy = AdaptivePolicy(tuple(priced(n) for n in "abc"), mixture, JudgeModel(), frozenset())
    scores: Scores = {"a": 0.6, "b": 0.6, "c": 0.6}
    asks = replace(conversation(), messages=(*conversation().messages[:2], Message("user", "What is 17 * 23?")))
    assert policy.initial(scores, CallEstimates(), replace(asks, cached=None)).models == ("a", "b")
    assert policy.initial(scores, CallEstimates(), asks).models == ("a",)


def test_a_first_turn_is_decided_as_without_conversations() -> None:
    query = Query.from_text(ASKS)
    assert find_lost_cache((priced("a"),), Mixture(), CallEstimates(), query, ()) is None
    decision = decide({"a": 0.6, "b": 0.63}, query)
    assert decision.ranking[0].why == "best"
    assert "last answer" not in decision.selection_reason
