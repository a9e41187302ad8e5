"""Laws of the account: what is spent never passes the limit, what is reserved is never less than what is spent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.budget import LONGEST, Account, worst
from routemoa.errors import ConfigError, OverBudget
from routemoa.types import Contract, Message, ModelSpec, Request, Usage


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
    account, spec = Account(Contract(max_cost=limit)), model(read, written)
    under_way = []
    paid = 0.0
    for text, cap, share, oldest in steps:
        try:
            under_way.append((account.reserve(spec, asked(text, max_tokens=cap)), share))
        except OverBudget:
            assert account.spent + account.held <= limit * (1 + 1e-12)
        if under_way and oldest:
            held, part = under_way.pop(0)
            real = None if part is None else part * held.most
            counted = account.settle(held, real)
            assert counted == (held.most if real is None else real) <= held.most
            paid += counted
        assert account.spent <= limit * (1 + 1e-12)
        assert account.spent + account.held <= limit * (1 + 1e-9)
        assert account.held >= 0.0
    for held, part in under_way:
        paid += account.settle(held, None if part is None else part * held.most)
    assert account.held == pytest.approx(0.0, abs=1e-12)
    assert account.spent == pytest.approx(paid)
    assert account.spent <= limit * (1 + 1e-9)


@given(st.text(max_size=200), st.integers(0, 500))
def test_the_worst_case_bounds_every_tokenizer_that_has_a_token_for_each_byte(text: str, said: int) -> None:
    spec, request = model(3.0, 7.0), asked(text, max_tokens=500)
    real = spec.cost(Usage(len(text.encode()), said))
    bound = worst(spec, request)
    assert real is not None
    assert bound is not None
    assert bound >= real


def test_an_answer_without_an_end_gets_one() -> None:
    held = Account(Contract(max_cost=1.0)).reserve(model(), asked("hello"))
    assert held.request.parameters == {"max_tokens": LONGEST}
    own = Account(Contract(max_cost=1.0)).reserve(model(max_completion_tokens=9), asked("hello"))
    assert own.request.parameters == {}
    assert own.most == worst(model(), asked("hello", max_tokens=9))


def test_without_a_limit_nothing_is_set_aside_or_changed() -> None:
    account, request = Account(), asked("hello")
    held = account.reserve(model(None, None), request)
    assert (held.most, held.request) == (None, request)
    account.settle(held, 0.5)
    assert account.spent == 0.5


def test_without_a_price_nobody_is_called_on_a_budget() -> None:
    with pytest.raises(ConfigError, match=r"m has no price.*add input_price"):
        Account(Contract(max_cost=1.0)).reserve(model(None), asked("hello"))
    with pytest.raises(OverBudget, match="could pass the limit"):
        Account(Contract(max_cost=1e-6)).reserve(model(), asked("hello"))
