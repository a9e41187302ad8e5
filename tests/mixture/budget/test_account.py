"""Laws of the account: what is spent never passes the limit, what is reserved is never less than what is spent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.clients.protocol.wire import TOKEN_LIMITS, apply_member_settings
from routemoa.core.errors import BudgetExceeded, ConfigError
from routemoa.core.models.pricing import Price, Rate, Tier
from routemoa.core.types import Limits, Message, ModelSpec, Request
from routemoa.core.usage import Usage
from routemoa.mixture.budget.account import (
    DEFAULT_OUTPUT_TOKENS,
    Account,
    Remaining,
    Reservation,
    cap_output,
    max_output_tokens,
    max_prompt_tokens,
)


def worst_cost(spec: ModelSpec, request: Request) -> float | None:
    return spec.worst_cost(max_prompt_tokens(spec, request), max_output_tokens(spec, request))


def model(read: float | None = 1.0, written: float | None = 10.0, **parameters: int) -> ModelSpec:
    return ModelSpec("m", "http://x", "m", input_price=read, output_price=written, parameters=parameters)


def asked(text: str, **parameters: int) -> Request:
    return Request((Message("user", text),), dict(parameters))


Steps = st.lists(
    st.tuples(st.text(max_size=60), st.integers(1, 300), st.floats(0, 1) | st.none(), st.booleans()), max_size=40
)


@given(Steps, st.floats(0, 0.02), st.floats(0, 40), st.floats(0, 40))
def test_no_order_of_calls_and_ends_passes_the_limit(
    steps: list[tuple[str, int, float | None, bool]], limit: float, read: float, written: float
) -> None:
    """`share` of the worst case is what a call comes to (None: nobody knows); a flag says who ends first."""
    account, spec = Account(Limits(max_cost=limit)), model(read, written)
    under_way: list[tuple[Reservation, float | None]] = []
    paid = 0.0
    for text, cap, share, oldest in steps:
        try:
            under_way.append((account.reserve(spec, asked(text, max_tokens=cap)), share))
        except BudgetExceeded:
            assert account.spent + account.reserved <= limit * (1 + 1e-12)
        if under_way and oldest:
            held, part = under_way.pop(0)
            most = held.max_cost or 0.0
            real = None if part is None else part * most
            counted = account.settle(held, real)
            assert counted == (most if real is None else real) <= most
            paid += counted
        assert account.spent <= limit * (1 + 1e-12)
        assert account.spent + account.reserved <= limit * (1 + 1e-9)
        assert account.reserved >= 0.0
    for held, part in under_way:
        paid += account.settle(held, None if part is None else part * (held.max_cost or 0.0))
    assert account.reserved == pytest.approx(0.0, abs=1e-12)
    assert account.spent == pytest.approx(paid)
    assert account.spent <= limit * (1 + 1e-9)


@given(st.text(max_size=200), st.integers(0, 500))
def test_the_worst_case_bounds_every_tokenizer_that_has_a_token_for_each_byte(text: str, said: int) -> None:
    spec, request = model(3.0, 7.0), asked(text, max_tokens=500)
    real = spec.cost(Usage(len(text.encode()), said))
    bound = worst_cost(spec, request)
    assert real is not None
    assert bound is not None
    assert bound >= real


def test_an_answer_without_an_end_gets_one() -> None:
    held = Account(Limits(max_cost=1.0)).reserve(model(), asked("hello"))
    assert held.request.parameters == {"max_tokens": DEFAULT_OUTPUT_TOKENS}
    own = Account(Limits(max_cost=1.0)).reserve(model(max_completion_tokens=9), asked("hello"))
    assert own.request.parameters == {}
    assert own.max_cost == worst_cost(model(), asked("hello", max_tokens=9))


def test_without_a_limit_nothing_is_set_aside_or_changed() -> None:
    account, request = Account(), asked("hello")
    held = account.reserve(model(None, None), request)
    assert (held.max_cost, held.request) == (None, request)
    account.settle(held, 0.5)
    assert account.spent == 0.5


def test_without_a_price_nobody_is_called_on_a_budget() -> None:
    with pytest.raises(ConfigError, match=r"m has no price.*add input_price"):
        Account(Limits(max_cost=1.0)).reserve(model(None), asked("hello"))
    with pytest.raises(BudgetExceeded, match="could pass the limit"):
        Account(Limits(max_cost=1e-6)).reserve(model(), asked("hello"))


def test_calls_are_counted_and_end() -> None:
    account = Account(Limits(max_calls=2))
    first = account.reserve(model(None), asked("hello"))
    assert (first.request, first.max_tokens, account.remaining) == (asked("hello"), None, Remaining(calls=1))
    account.release(first)  # it was not made
    assert account.calls == 0
    for _ in range(2):
        account.settle(account.reserve(model(None), asked("hello")), None)
    with pytest.raises(BudgetExceeded, match=r"all 2 calls .* are made \(max_calls\)") as caught:
        account.reserve(model(None), asked("hello"))
    assert not caught.value.temporary  # a call that ended has been made
    assert account.remaining.calls == 0


def test_output_tokens_are_set_aside_and_given_back() -> None:
    account = Account(Limits(max_output_tokens=1000))
    first = account.reserve(model(None), asked("hello", max_tokens=700))
    assert (first.max_tokens, account.reserved_tokens, account.remaining.tokens) == (700, 700, 300)
    second = account.reserve(model(None), asked("hello", max_tokens=700))
    assert (second.max_tokens, second.request.parameters) == (300, {"max_tokens": 300})
    with pytest.raises(BudgetExceeded, match="0 of 1000 output tokens are left") as caught:
        account.reserve(model(None), asked("hello"))
    assert caught.value.temporary
    account.settle(first, None, 10)
    account.settle(second, None, None)  # nobody counted: the most
    assert (account.output_tokens, account.reserved_tokens, account.remaining.tokens) == (310, 0, 690)


def test_no_answer_is_asked_for_that_is_too_short_to_be_one() -> None:
    account = Account(Limits(max_output_tokens=100))
    account.settle(account.reserve(model(), asked("hello", max_tokens=60)), 0.0, 60)
    with pytest.raises(BudgetExceeded, match="too few for an answer"):
        account.reserve(model(), asked("hello"))
    assert account.reserve(model(), asked("hello", max_tokens=5)).max_tokens == 5  # unless its own limit is lower
    assert (
        Account(Limits(max_output_tokens=9)).reserve(model(), asked("hello")).max_tokens == 9
    )  # or the whole contract's
    account = Account(Limits(max_output_tokens=400))
    held = account.reserve(model(), asked("hello", max_tokens=100), min_tokens=100)
    with pytest.raises(BudgetExceeded):
        account.reserve(model(), asked("hello"), min_tokens=301)
    assert account.reserve(model(), asked("hello"), min_tokens=300).max_tokens == 300
    assert held.max_tokens == 100


@pytest.mark.parametrize(
    ("caller", "member", "sent"),
    [
        ({}, {}, {"max_tokens": 50}),
        ({"max_tokens": 90}, {}, {"max_tokens": 50}),
        ({"max_completion_tokens": 90}, {}, {"max_completion_tokens": 50}),
        ({}, {"max_completion_tokens": 90}, {"max_completion_tokens": 50}),
        ({"max_tokens": 90}, {"max_completion_tokens": 80}, {"max_completion_tokens": 50}),
        ({"max_tokens": 90, "max_completion_tokens": 80}, {}, {"max_tokens": 50}),
        ({"max_tokens": 20}, {}, {"max_tokens": 20}),
        ({}, {"max_completion_tokens": 20}, {"max_completion_tokens": 20}),
        ({"max_tokens": 20}, {"max_completion_tokens": 80}, {"max_completion_tokens": 20}),
    ],
)
def test_an_answer_is_capped_under_the_name_that_its_endpoint_knows(
    caller: dict[str, int], member: dict[str, int], sent: dict[str, int]
) -> None:
    spec = model(**member)
    request = cap_output(spec, asked("hello", **caller, seed=4), 50)
    body = apply_member_settings(spec, {"seed": 4} | request.parameters, "m")
    assert {k: v for k, v in body.items() if k in TOKEN_LIMITS} == sent
    assert body["seed"] == 4
    held = Account(Limits(max_output_tokens=50)).reserve(spec, asked("hello", **caller))
    assert held.max_tokens == min(sent.values())
    assert max_output_tokens(spec, held.request) == held.max_tokens


def test_a_cap_that_is_none_names_nothing() -> None:
    request = Request((Message("user", "hello"),), {"max_tokens": None, "max_completion_tokens": 90})
    assert cap_output(model(), request, 50).parameters == {"max_completion_tokens": 50}


def test_bounded_by_somebody_else() -> None:
    account = Account(bounded=True)
    held = account.reserve(model(), asked("hello"))
    assert held.request.parameters == {"max_tokens": DEFAULT_OUTPUT_TOKENS}
    assert held.max_cost is not None
    with pytest.raises(ConfigError, match="no price"):
        account.reserve(model(None), asked("hello"))
    account.release(held)
    assert (account.reserved, account.reserved_tokens, account.calls, account.spent) == (0.0, 0, 0, 0.0)


def test_fits_changes_nothing() -> None:
    account = Account(Limits(max_cost=0.01, max_calls=1, max_output_tokens=500))
    assert account.can_afford(model(), asked("hello"), 400)
    assert not account.can_afford(model(None), asked("hello"), 1)
    assert not Account(Limits(max_cost=1e-9)).can_afford(model(), asked("hello"), 1)
    assert (account.reserved, account.reserved_tokens, account.calls, account.spent, account.output_tokens) == (
        0.0,
        0,
        0,
        0.0,
        0,
    )
    held = account.reserve(model(), asked("hello"))
    assert not account.can_afford(model(), asked("hello"), 1)
    account.release(held)
    assert account.can_afford(model(), asked("hello"), 400)


def test_a_price_for_a_longer_prompt_is_known_beforehand() -> None:
    spec = ModelSpec("m", "http://x", list_price=Price(Rate(1.0, (Tier(10, 100.0),)), Rate(1.0), request=0.5))
    held = Account(Limits(max_cost=1.0)).reserve(spec, asked("x" * 50, max_tokens=10))
    assert held.max_cost is not None
    assert held.max_cost > 0.5 + 50 * 100 / 1e6


Moves = st.lists(
    st.tuples(
        st.integers(0, 2),  # who
        st.integers(1, 900),  # asks for so many tokens
        st.none() | st.floats(0, 1),  # comes to this part of the most, and of the tokens
        st.sampled_from(("hold", "settle", "release")),
    ),
    max_size=40,
)


@given(
    Moves,
    st.none() | st.floats(0, 0.05),
    st.none() | st.integers(1, 4000),
    st.none() | st.integers(1, 12),
    st.booleans(),
)
def test_no_limit_is_passed_whatever_is_asked_and_however_it_ends(
    moves: list[tuple[int, int, float | None, str]],
    cost: float | None,
    tokens: int | None,
    calls: int | None,
    bounded: bool,
) -> None:
    account = Account(Limits(cost, None, calls, tokens), bounded=bounded)
    tiers = Price(Rate(1.0, (Tier(40, 9.0),)), Rate(4.0, (Tier(40, 2.0),)), cached=Rate(3.0), request=0.0001)
    specs = [model(), ModelSpec("t", "http://x", list_price=tiers), model(0.0, 0.0)]
    under_way: list[tuple[Reservation, float | None]] = []
    reserved = 0.0

    def holds() -> None:
        assert cost is None or account.spent + account.reserved <= cost
        assert tokens is None or account.output_tokens + account.reserved_tokens <= tokens
        assert calls is None or account.calls <= calls
        assert account.spent <= reserved * (1 + 1e-9)

    def settle(held: Reservation, part: float | None) -> None:
        said = None if part is None else int(part * (held.max_tokens or 0))
        account.settle(held, None if part is None else part * (held.max_cost or 0.0), said)

    for who, wanted, part, end in moves:
        try:
            held = account.reserve(specs[who], asked("x" * wanted, max_tokens=wanted))
        except BudgetExceeded:
            pass
        else:
            assert held.max_tokens is None or held.max_tokens <= max_output_tokens(specs[who], held.request) <= wanted
            reserved += held.max_cost or 0.0
            under_way.append((held, part))
        holds()
        if under_way and end == "settle":
            settle(*under_way.pop(0))
        elif under_way and end == "release":
            account.release(under_way.pop()[0])
        holds()
    for held, part in under_way:
        settle(held, part)
    holds()
    assert (account.reserved, account.reserved_tokens) == (0.0, 0)


def test_a_cap_makes_no_answer_longer() -> None:
    spec = ModelSpec("m", "http://x", "m", input_price=1.0, output_price=1.0, context=100)
    assert max_output_tokens(spec, asked("hello")) < 100
    assert max_output_tokens(spec, cap_output(spec, asked("hello"), 512)) == max_output_tokens(spec, asked("hello"))
