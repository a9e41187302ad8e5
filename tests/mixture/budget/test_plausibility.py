"""What an endpoint reports is bounded by what the call can have used: marked, never forgotten."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from routemoa.core.types import Message, ModelSpec, Request
from routemoa.core.usage import Usage
from routemoa.mixture.budget.account import token_limit
from routemoa.mixture.budget.plausibility import ADDED_PROMPT_TOKENS, UsageBounds, bound_usage

PRICED = ModelSpec("m", "http://x/v1", "m", input_price=1.0, output_price=10.0)
UNPRICED = ModelSpec("m", "http://x/v1", "m")
FREE = ModelSpec("m", "http://x/v1", "m", input_price=0.0, output_price=0.0)
BOUNDS = UsageBounds(prompt_tokens=100, limit=None, usual_tokens=4096, max_cost=0.04106)
STRICT = UsageBounds(prompt_tokens=100, limit=20, usual_tokens=20, max_cost=0.0003, is_strict=True)


@pytest.mark.parametrize(
    ("usage", "bounds", "kept"),
    [
        (Usage(100, 4096), BOUNDS, True),
        (Usage(100, 200_000), BOUNDS, True),  # no limit was sent: long thoughts are possible
        (Usage(100, 10**6), BOUNDS, False),
        (Usage(5100, 10, 5000), BOUNDS, True),  # a system text of the endpoint's own
        (Usage(101 + ADDED_PROMPT_TOKENS, 10), BOUNDS, False),
        (Usage(10**12, 10), BOUNDS, False),
        (Usage(100, 20), replace(BOUNDS, limit=20, usual_tokens=20), True),
        (Usage(100, 21), replace(BOUNDS, limit=20, usual_tokens=20), True),  # the end of the answer counted as well
        (Usage(100, 500), replace(BOUNDS, limit=20, usual_tokens=20), False),
        (Usage(100, 500, reasoning_tokens=490), replace(BOUNDS, limit=20, usual_tokens=20), True),  # not limited
        (Usage(100, 500, reasoning_tokens=490), STRICT, False),
        (Usage(100, 100), replace(BOUNDS, limit=20, usual_tokens=20, answers=5), True),
        (Usage(10**6, 10), replace(BOUNDS, prompt_tokens=None), True),  # pictures
        (Usage(100, 20), STRICT, True),
        (Usage(None, None), STRICT, True),
        (Usage(100, 4, reported_cost=0.01), BOUNDS, True),
        (Usage(100, 4, reported_cost=0.05), BOUNDS, False),
        (Usage(100, 4, reported_cost=50.0), BOUNDS, False),
        (Usage(100, 4, reported_cost=0.001), STRICT, False),
    ],
)
def test_figures_beyond_the_possible_count_as_the_worst_case(usage: Usage, bounds: UsageBounds, kept: bool) -> None:
    bounded = bound_usage(PRICED, usage, bounds, has_answered=True)
    assert (not bounded.problem) == kept
    if kept:
        assert bounded == usage
    else:
        assert "more than the call can have" in bounded.problem
        cost = PRICED.cost(bounded)
        assert cost is not None
        assert cost <= 0.0412
        assert not bounds.is_strict or cost <= (bounds.max_cost or 0.0) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("usage", "has_answered", "counts"),
    [
        (Usage(0, 0), True, (None, None)),
        (Usage(8, 0), True, (8, None)),
        (Usage(8, 0), False, (8, 0)),
        (Usage(0, 9), True, (None, 9)),
        (Usage(8, 9), True, (8, 9)),
    ],
)
def test_a_zero_that_cannot_be_is_unknown(
    usage: Usage, has_answered: bool, counts: tuple[int | None, int | None]
) -> None:
    bounded = bound_usage(PRICED, usage, BOUNDS, has_answered=has_answered)
    assert (bounded.prompt_tokens, bounded.completion_tokens) == counts
    assert (PRICED.cost(bounded) is None) == (None in counts)


def test_a_reported_cost_goes_before_our_price_but_a_zero_only_where_there_is_none() -> None:
    assert PRICED.cost(Usage(100, 4, reported_cost=0.0123)) == 0.0123
    assert PRICED.cost(Usage(100, 4, reported_cost=0.0)) == pytest.approx(0.00014)
    assert UNPRICED.cost(Usage(100, 4, reported_cost=0.0)) == 0.0
    assert UNPRICED.cost(Usage(None, None, reported_cost=0.0123)) == 0.0123
    assert UNPRICED.cost(Usage(100, 4)) is None


def test_without_a_price_only_the_absurd_is_bounded() -> None:
    open_bounds = replace(BOUNDS, max_cost=None)
    assert UNPRICED.cost(bound_usage(UNPRICED, Usage(100, 4, reported_cost=3.0), open_bounds, has_answered=True)) == 3.0
    bounded = bound_usage(UNPRICED, Usage(100, 4, reported_cost=1e9), open_bounds, has_answered=True)
    assert UNPRICED.cost(bounded) == 1000.0
    assert bounded.problem
    # a price of zero is no bound, but a budget is
    assert (
        FREE.cost(bound_usage(FREE, Usage(100, 4, reported_cost=0.5), replace(BOUNDS, max_cost=0.0), has_answered=True))
        == 0.5
    )
    strict = replace(BOUNDS, max_cost=0.0, is_strict=True)
    assert FREE.cost(bound_usage(FREE, Usage(100, 4, reported_cost=0.5), strict, has_answered=True)) == 0.0


counts = st.none() | st.integers(0, 2**53 - 1)


@given(
    st.builds(Usage, counts, counts, counts, counts, counts, st.none() | st.floats(0, 1e12)),
    st.booleans(),
    st.sampled_from([BOUNDS, STRICT, replace(BOUNDS, is_strict=True), replace(BOUNDS, prompt_tokens=None)]),
)
def test_no_figures_pass_a_strict_bound(usage: Usage, has_answered: bool, bounds: UsageBounds) -> None:
    bounded = bound_usage(PRICED, usage, bounds, has_answered=has_answered)
    cost = PRICED.cost(bounded)
    if bounds.is_strict:
        assert cost is None or cost <= (bounds.max_cost or 0.0) * (1 + 1e-9)
    assert cost is None or bounds.prompt_tokens is None or cost <= 3.0
    assert bound_usage(PRICED, replace(bounded, problem=""), bounds, has_answered=has_answered).problem == ""


@pytest.mark.parametrize(
    ("member", "limit"),
    [
        (UNPRICED, 20),
        (replace(UNPRICED, omit=("max_tokens",)), None),  # not sent, so it bounds nothing
        (replace(UNPRICED, rename={"max_tokens": "max_completion_tokens"}), 20),
        (replace(UNPRICED, omit=("max_tokens",), parameters={"max_tokens": 30}), 30),
        (replace(UNPRICED, parameters={"max_tokens": 10}), 10),
    ],
)
def test_a_limit_that_is_not_sent_is_none(member: ModelSpec, limit: int | None) -> None:
    assert token_limit(member, Request((Message("user", "Hi"),), {"max_tokens": 20})) == limit
