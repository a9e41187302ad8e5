"""The rule of rates: buckets that hold a minute's worth and fill evenly, and the headers that show them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.core.access.tenants import Tenant
from routemoa.gateway.access.rates import (
    RATE_HEADERS,
    MemoryRates,
    RateState,
    describe_rates,
    drain_rates,
    find_rate_refusal,
    format_duration,
)


def tenant(requests: int | None = None, tokens: int | None = None, streams: int | None = None) -> Tenant:
    return Tenant("t", "", requests_per_minute=requests, tokens_per_minute=tokens, concurrent_streams=streams)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (-1.0, "0s"),
        (0.0004, "1ms"),
        (0.12, "120ms"),
        (1.0, "1s"),
        (8.64, "8.64s"),
        (59.9999, "1m0s"),
        (60.0, "1m0s"),
        (360.0, "6m0s"),
        (72.5, "1m12.5s"),
        (3723.0, "1h2m3s"),
        (7200.0, "2h0m0s"),
    ],
)
def test_durations_read_as_openais(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


async def test_a_minutes_worth_may_go_at_once_and_then_the_rate_holds() -> None:
    clock = Clock()
    rates, t = MemoryRates(clock), tenant(requests=6)
    assert [await rates.reserve(t, 0, stream=False) for _ in range(6)] == [None] * 6
    refused = await rates.reserve(t, 0, stream=False)
    assert refused is not None
    assert refused.retry_after == pytest.approx(10.0)
    assert "6 requests a minute" in refused.message
    assert describe_rates(await rates.look(t), t) == {
        "x-ratelimit-limit-requests": "6",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1m0s",
    }
    clock.now += 10.0
    assert await rates.reserve(t, 0, stream=False) is None, "retry-after is honest"
    clock.now += 3600.0
    assert describe_rates(await rates.look(t), t)["x-ratelimit-remaining-requests"] == "6"


@given(
    limit=st.integers(1, 100),
    steps=st.lists(st.tuples(st.floats(0, 30), st.integers(1, 40)), max_size=60),
)
def test_no_span_of_time_lets_more_through_than_a_burst_and_the_rate(
    limit: int, steps: list[tuple[float, int]]
) -> None:
    t, state, now, let_in = tenant(requests=limit), RateState(), 0.0, []
    for wait, tries in steps:
        now += wait
        for _ in range(tries):
            state = drain_rates(state, t, now)
            if find_rate_refusal(state, t, 0, stream=False) is None:
                state = RateState(now, state.requests + 1)
                let_in.append(now)
    for i, start in enumerate(let_in):
        for j in range(i, len(let_in)):
            assert j - i + 1 <= limit + (let_in[j] - start) * limit / 60 + 1e-6


@given(limit=st.integers(1, 10**6), used=st.floats(0, 10**7), tokens=st.integers(0, 10**6))
def test_a_request_fits_after_its_retry_after_and_not_much_before(limit: int, used: float, tokens: int) -> None:
    t, state = tenant(tokens=limit), RateState(0.0, 0.0, used)
    refusal = find_rate_refusal(state, t, tokens, stream=False)
    if refusal is None:
        return
    if tokens > limit:
        assert refusal.retry_after is None
        return
    assert refusal.retry_after is not None
    later = drain_rates(state, t, refusal.retry_after + 0.001)
    assert find_rate_refusal(later, t, tokens, stream=False) is None
    earlier = drain_rates(state, t, refusal.retry_after * 0.99 - 0.001)
    assert refusal.retry_after < 0.01 or find_rate_refusal(earlier, t, tokens, stream=False) is not None


async def test_an_estimate_gives_way_to_what_was_used() -> None:
    clock = Clock()
    rates, t = MemoryRates(clock), tenant(tokens=1000)
    assert await rates.reserve(t, 400, stream=False) is None
    await rates.settle(t, -300, stream=False)
    assert describe_rates(await rates.look(t), t)["x-ratelimit-remaining-tokens"] == "900"
    assert await rates.reserve(t, 100, stream=False) is None
    await rates.settle(t, 2000, stream=False)
    shown = describe_rates(await rates.look(t), t)
    assert shown["x-ratelimit-remaining-tokens"] == "0"
    assert shown["x-ratelimit-reset-tokens"] == "2m12s"
    refused = await rates.reserve(t, 1, stream=False)
    assert refused is not None
    assert refused.retry_after == pytest.approx(72.06)


async def test_a_prompt_that_never_fits_says_so() -> None:
    refused = await MemoryRates().reserve(tenant(tokens=100), 101, stream=False)
    assert refused is not None
    assert refused.retry_after is None
    assert "shorter" in refused.message


async def test_streams_are_counted_while_they_run_and_other_answers_are_not() -> None:
    rates, t = MemoryRates(), tenant(streams=2)
    assert [await rates.reserve(t, 0, stream=s) for s in (True, False, True)] == [None] * 3
    refused = await rates.reserve(t, 0, stream=True)
    assert refused is not None
    assert "2 streams at the same time" in refused.message
    assert await rates.reserve(t, 0, stream=False) is None
    await rates.settle(t, 0, stream=True)
    assert await rates.reserve(t, 0, stream=True) is None
    assert describe_rates(await rates.look(t), t) == {}


async def test_a_refused_request_counts_nothing_and_names_are_apart() -> None:
    rates, t = MemoryRates(Clock()), tenant(requests=5, tokens=10)
    assert await rates.reserve(t, 9, stream=False) is None
    before = await rates.look(t)
    assert await rates.reserve(t, 9, stream=True) is not None
    assert await rates.look(t) == before
    other: Any = Tenant("u", "", tokens_per_minute=10)
    assert await rates.reserve(other, 9, stream=False) is None


def test_the_names_of_the_headers() -> None:
    assert set(describe_rates(RateState(), tenant(1, 1))) == set(RATE_HEADERS)
