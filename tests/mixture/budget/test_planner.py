"""What fits: fewer models, a cheaper one, no aggregator, in this order; and what is said to fit can be reserved."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routemoa.core.errors import BudgetExceeded, ConfigError
from routemoa.core.models.pricing import Price, Rate, Tier
from routemoa.core.types import Limits, Message, ModelSpec, Request
from routemoa.mixture.budget.account import (
    MIN_OUTPUT_TOKENS,
    Account,
    Remaining,
    cap_output,
    max_output_tokens,
    max_prompt_tokens,
)
from routemoa.mixture.budget.planner import BudgetedPlan, Resources, layer_time_limit, plan_within_budget


def spec(name: str, price: float | None = 1.0, latency: float | None = None, **parameters: int) -> ModelSpec:
    return ModelSpec(
        name, "http://x", name, input_price=price, output_price=price, latency=latency, parameters=parameters
    )


def request(model: ModelSpec) -> Request:
    return Request((Message("user", "How many apples are left?"),))


def names(fitting: BudgetedPlan) -> str:
    return "".join(m.name for m in fitting.models)


def means(cost: float | None = None, tokens: int | None = None, calls: int | None = None, **more: object) -> Resources:
    return Resources(Remaining(cost, tokens, calls), **more)  # type: ignore[arg-type]


A, B, C = spec("a", 10.0), spec("b", 2.0), spec("c", 1.0)
WHOLE = {m.name: 300.0 for m in (A, B, C)}  # tokens of a usual answer


def most(*models: ModelSpec, tokens: int = 600) -> float:
    """Dollars of one call of each, with room for whole answers."""
    calls = [(m, Request(request(m).messages, {"max_tokens": tokens})) for m in models]
    return sum(m.worst_cost(max_prompt_tokens(m, r), max_output_tokens(m, r)) or 0.0 for m, r in calls)


def test_without_limits_all_are_called_as_asked() -> None:
    assert plan_within_budget([A, B], [C], Resources(), request, writer=A) == BudgetedPlan((A, B))


def test_with_room_for_all_nothing_is_given_up() -> None:
    found = plan_within_budget([A, B], [C], means(1.0, 10**6, 99), request, writer=A)
    assert (names(found), found.given_up, found.max_tokens) == ("ab", (), 4096)
    assert plan_within_budget([A, B], [C], means(calls=3), request, writer=A).max_tokens is None  # nothing needs a cap


def test_first_there_are_fewer_models() -> None:
    found = plan_within_budget([A, B, C], [], Resources(Remaining(most(A, B) * 1.01), None, WHOLE), request)
    assert names(found) == "ab"
    assert [(g.what, g.models) for g in found.given_up] == [("models", ("c",))]
    assert "is left" in found.given_up[0].why


def test_then_a_cheaper_one_is_called_in_their_place() -> None:
    found = plan_within_budget([A], [B, C], Resources(Remaining(most(B) * 1.01), None, WHOLE), request)
    assert names(found) == "b"
    assert [(g.what, g.models) for g in found.given_up] == [("model", ("a",))]


def test_who_is_called_in_their_place_was_not_given_up() -> None:
    found = plan_within_budget([A, B], [C], Resources(Remaining(most(B) * 1.01), None, WHOLE), request)
    assert names(found) == "b"
    assert [(g.what, g.models) for g in found.given_up] == [("model", ("a",))]


def test_last_a_shorter_answer_is_better_than_none() -> None:
    found = plan_within_budget(
        [A], [B], Resources(Remaining(most(B, tokens=MIN_OUTPUT_TOKENS + 10)), None, WHOLE), request
    )
    assert names(found) == "b"
    assert found.max_tokens is not None
    assert MIN_OUTPUT_TOKENS <= found.max_tokens < 600


def test_once_there_are_answers_no_short_one_is_asked_for() -> None:
    found = plan_within_budget(
        [A], [B], Resources(Remaining(most(B, tokens=MIN_OUTPUT_TOKENS + 10)), None, WHOLE), request, answers=1
    )
    assert (found.models, found.unpriced) == ((), False)
    assert found.reason.startswith("only $")


def test_the_aggregators_share_is_kept_back() -> None:
    left = Resources(Remaining(most(A, B) * 1.05), None, WHOLE)
    assert names(plan_within_budget([A, B], [], left, request)) == "ab"
    assert names(plan_within_budget([A, B], [], left, request, writer=A)) == "a"  # one answer needs no aggregator
    assert names(plan_within_budget([A, B], [], means(calls=2), request, writer=A)) == "a"
    assert names(plan_within_budget([A, B], [], means(calls=3), request, writer=A)) == "ab"
    assert names(plan_within_budget([A], [], means(calls=1), request, writer=A, answers=1)) == ""


def test_the_reason_is_that_which_was_in_the_way() -> None:
    found = plan_within_budget([A, B, C], [], means(tokens=10**6, calls=2), request)
    assert names(found) == "ab"
    assert found.given_up[0].why == "only 2 more calls are allowed"
    found = plan_within_budget([A, B, C], [], Resources(Remaining(None, 1300, 50), None, WHOLE), request)
    assert names(found) == "ab"
    assert found.given_up[0].why == "only 1300 more output tokens are allowed"
    found = plan_within_budget([A, B], [], Resources(Remaining(most(A) * 1.01, 10**6, 50), None, WHOLE), request)
    assert names(found) == "a"
    assert found.given_up[0].why.startswith("only $")


def test_models_without_a_price_are_not_called_under_a_limit_of_dollars() -> None:
    free = spec("f", None)
    found = plan_within_budget([free, A], [free], means(1.0), request)
    assert names(found) == "a"
    assert "no price" in found.given_up[0].why
    none = plan_within_budget([free], [free], means(1.0), request)
    assert (none.models, none.unpriced) == ((), True)
    assert "add input_price" in none.reason
    assert names(plan_within_budget([free], [], means(None, 1000, 5, seconds=1.0), request)) == "f"


def test_who_is_too_slow_is_left_out_but_not_if_nobody_is_quick() -> None:
    slow, quick = spec("s", latency=9.0), spec("q", latency=0.5)
    found = plan_within_budget([slow, quick], [], means(seconds=1.0), request)
    assert names(found) == "q"
    assert "slower than the 1.0 s" in found.given_up[0].why
    assert names(plan_within_budget([slow], [quick], means(seconds=1.0), request)) == "q"
    assert names(plan_within_budget([slow], [], means(seconds=1.0), request)) == "s"
    late = plan_within_budget([slow], [slow], means(seconds=1.0), request, answers=1)
    assert late.models == ()
    assert "no model is expected to answer in 1.0 s" in late.reason
    assert (
        names(plan_within_budget([slow], [], means(seconds=1.0, latency={"s": 0.3}), request)) == "s"
    )  # as it was measured


def test_where_nobody_fits_it_says_what_would_do() -> None:
    found = plan_within_budget([A], [C], means(1e-9), request)
    assert found.models == ()
    assert "the cheapest call, of c" in found.reason
    assert "no more calls are allowed" in plan_within_budget([A], [], means(calls=0), request).reason
    assert "only 0 more output tokens" in plan_within_budget([A], [], means(tokens=0), request).reason


RATES = st.builds(
    Rate,
    st.floats(0, 50),
    st.lists(st.builds(Tier, st.integers(1, 200), st.floats(0, 80)), max_size=2).map(
        lambda tiers: tuple(sorted(tiers, key=lambda t: t.start))
    ),
)
PRICES = st.none() | st.builds(Price, RATES, RATES, st.none() | RATES, st.none() | RATES, st.floats(0, 0.01))
CAPS = st.dictionaries(st.sampled_from(("max_tokens", "max_completion_tokens")), st.integers(1, 6000), max_size=2)


@st.composite
def pools(draw: st.DrawFn) -> list[ModelSpec]:
    return [
        ModelSpec(
            f"m{i}",
            "http://x",
            f"m{i}",
            context=draw(st.none() | st.integers(100, 9000)),
            latency=draw(st.none() | st.floats(0, 5)),
            parameters=draw(CAPS),
            system=draw(st.none() | st.text(max_size=20)),
            list_price=draw(PRICES),
        )
        for i in range(draw(st.integers(1, 6)))
    ]


@settings(max_examples=300, deadline=None)
@given(
    pools(),
    st.integers(1, 6),
    st.none() | st.floats(0, 0.3),
    st.none() | st.integers(1, 9000),
    st.none() | st.integers(1, 8),
    st.none() | st.floats(0, 5),
    CAPS,
    st.text(max_size=80),
    st.integers(0, 2),
    st.booleans(),
)
def test_what_fits_can_be_reserved(
    pool: list[ModelSpec],
    panel: int,
    cost: float | None,
    tokens: int | None,
    calls: int | None,
    seconds: float | None,
    parameters: dict[str, int],
    text: str,
    heard: int,
    writes: bool,
) -> None:
    account = Account(Limits(max_cost=cost, max_output_tokens=tokens, max_calls=calls))
    wanted, others = pool[:panel], pool[panel:]

    def ask(model: ModelSpec) -> Request:
        return Request((Message("user", text),), dict(parameters))

    given_means = Resources(account.remaining, seconds)
    found = plan_within_budget(wanted, others, given_means, ask, writer=pool[-1] if writes else None, answers=heard)
    assert len({m.name for m in found.models}) == len(found.models)
    assert list(found.models) in [[m for m in wanted if m in found.models], list(found.models)[:1]]
    given_up = {name for g in found.given_up for name in g.models}
    assert not given_up & {m.name for m in found.models}
    if not found.models:
        assert found.reason
        return
    if {m.name for m in found.models} <= {m.name for m in wanted}:
        assert given_up | {m.name for m in found.models} == {m.name for m in wanted}, "left out without a word"
    for model in found.models:
        asked = ask(model) if found.max_tokens is None else cap_output(model, ask(model), found.max_tokens)
        held = account.reserve(model, asked)
        assert cost is None or held.max_cost is not None
        if found.max_tokens is not None and held.max_tokens is not None:
            assert held.max_tokens <= found.max_tokens
    if cost is not None:
        assert account.reserved <= cost


@settings(max_examples=150, deadline=None)
@given(pools(), st.floats(0, 0.3), st.integers(1, 9000))
def test_nobody_is_dropped_where_whole_answers_of_all_fit(pool: list[ModelSpec], cost: float, tokens: int) -> None:
    account = Account(Limits(max_cost=cost, max_output_tokens=tokens))
    try:
        for model in pool:
            account.reserve(model, cap_output(model, request(model), 600), min_tokens=600)
    except (BudgetExceeded, ConfigError):
        return
    left = Account(Limits(max_cost=cost, max_output_tokens=tokens)).remaining
    assert plan_within_budget(
        pool, [], Resources(left, None, dict.fromkeys((m.name for m in pool), 300.0)), request
    ).models == tuple(pool)


def test_a_model_of_short_answers_takes_no_more_than_it_can_write() -> None:
    assert (
        names(
            plan_within_budget([A, spec("s", max_tokens=1)], [], Resources(Remaining(None, 601), None, WHOLE), request)
        )
        == "as"
    )


@given(
    st.floats(0.01, 100),
    st.floats(0, 1, allow_subnormal=False),
    st.none() | st.floats(0, 100),
    st.booleans(),
    st.booleans(),
)
def test_a_layers_share_is_a_part_of_what_is_left(
    whole: float, part: float, writing: float | None, writer: bool, others: bool
) -> None:
    left = part * whole
    seconds = layer_time_limit(left, whole, writing, writer=writer, others=others)
    assert 0.5 * left * (1 - 1e-9) <= seconds <= left


@pytest.mark.parametrize(
    ("left", "writing", "writer", "others", "seconds"),
    [
        (10.0, None, False, False, 10.0),
        (10.0, None, False, True, 7.5),
        (4.0, None, False, True, 4.0),  # less than half is left: no time is kept for another layer
        (10.0, None, True, True, 6.0),
        (10.0, 2.0, True, True, 7.6),
        (10.0, 9.0, True, True, 5.0),
    ],
)
def test_the_shares(left: float, writing: float | None, writer: bool, others: bool, seconds: float) -> None:
    assert layer_time_limit(left, 10.0, writing, writer=writer, others=others) == pytest.approx(seconds)
