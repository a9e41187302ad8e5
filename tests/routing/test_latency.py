"""What calls are expected to take: learned from calls, by length, and nothing where nothing was measured."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.core.errors import CallCancelled, ModelError, ModelTimeout
from routemoa.core.events import ProposalFailed, ProposalFinished
from routemoa.core.trace import Proposal
from routemoa.core.types import ModelSpec, Usage
from routemoa.mixture.layer import make_failure
from routemoa.routing.latency import CALLS_KEPT, MIN_FIRST_TOKENS, MIN_HEDGE_SECONDS, CallEstimates, LatencyTracker


def call(model: str, tokens: int | None, seconds: float | None) -> Proposal:
    return Proposal(model, "x", Usage(1, tokens), seconds, None)


def pace(*calls: tuple[int, float], quantile: float = 0.5) -> LatencyTracker:
    learned = LatencyTracker(quantile)
    for tokens, seconds in calls:
        learned.record_answer(call("a", tokens, seconds))
    return learned


def test_nothing_measured_is_nothing_expected() -> None:
    learned = LatencyTracker()
    learned.record_answer(call("a", 100, None))
    assert learned.estimates().seconds == learned.estimates().tokens == {}
    assert learned.estimates([call("a", 100, 1.0)]).seconds == {}


def test_tokens_that_nobody_counted_follow_from_the_text() -> None:
    learned = LatencyTracker()
    learned.record_answer(Proposal("a", "four" * 50, Usage(), 2.0, None))
    assert learned.estimates() == CallEstimates({"a": 50.0}, {"a": 2.0})


def test_the_middle_of_calls_of_one_length() -> None:
    expected = pace((100, 1.0), (100, 9.0), (100, 2.0)).estimates()
    assert expected.tokens == {"a": 100}
    assert expected.seconds["a"] in (2.0, 9.0)  # of the closest half: the first two of equals
    assert pace(*[(100, float(s)) for s in range(1, 22)]).estimates().seconds["a"] == 6.0  # the middle of eleven


def test_a_higher_quantile_expects_more() -> None:
    calls = [(100, float(s)) for s in range(1, 12)]
    low, high, most = (pace(*calls, quantile=q).estimates().seconds["a"] for q in (0.0, 0.9, 1.0))
    assert (low, high, most) == (1.0, 6.0, 6.0)  # of the six closest


def test_seconds_are_those_of_answers_of_that_length() -> None:
    learned = pace(*[(100, 1.0)] * 5, *[(1000, 10.0)] * 5)
    assert learned.estimates().tokens["a"] == 550
    short = learned.estimates([call("a", 55, 0.5)])  # a tenth of what is usual
    long = learned.estimates([call("a", 1100, 0.5)])
    assert short.seconds["a"] < 1.0 < 8.0 < long.seconds["a"]
    assert short.tokens["a"] == pytest.approx(55)


def test_answers_that_were_heard_tell_of_the_others() -> None:
    learned = LatencyTracker()
    for name, tokens in (("a", 100), ("b", 300)):
        learned.record_answer(call(name, tokens, 1.0))
    assert learned.estimates([call("a", 200, 2.0)]).tokens == {"a": 200, "b": 600}
    assert learned.estimates([call("c", 200, 2.0), call("a", 0, 2.0), call("b", None, None)]).tokens == {
        "a": 100,
        "b": 300,
    }


def test_one_call_tells_of_answers_from_half_to_twice_its_length() -> None:
    learned = pace((100, 1.0))
    assert learned.estimates([call("a", 5000, 1.0)]).seconds == {"a": 2.0}
    assert learned.estimates([call("a", 1, 1.0)]).seconds == {"a": 0.5}


def test_only_the_last_calls_are_remembered() -> None:
    learned = pace(*[(100, 50.0)] * CALLS_KEPT, *[(100, 1.0)] * CALLS_KEPT)
    assert learned.estimates().seconds == {"a": 1.0}


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.floats(0, 1000)), min_size=1, max_size=100),
    st.integers(0, 5000),
    st.floats(0, 1),
)
def test_what_is_expected_lies_among_what_was_measured(
    calls: list[tuple[int, float]], heard: int, quantile: float
) -> None:
    learned = pace(*calls, quantile=quantile)
    kept = [s for _, s in calls[-CALLS_KEPT:]]
    seconds = learned.estimates([call("a", heard, 1.0)]).seconds["a"]
    assert min(kept) / 2 <= seconds <= max(kept) * 2
    assert learned.estimates([call("a", heard, 1.0)]).seconds["a"] == seconds


def began(*seconds: float) -> LatencyTracker:
    learned = LatencyTracker()
    for wait in seconds:
        learned.record_first_token("a", wait)
    return learned


def failed(kind: type[ModelError], latency: float, partial: str = "") -> ProposalFailed:
    return ProposalFailed(1, make_failure(ModelSpec("a", "http://x"), kind("a", "why"), latency, None, partial))


def test_with_fewer_first_tokens_nobody_says_what_is_late() -> None:
    assert began(*[1.0] * (MIN_FIRST_TOKENS - 1)).estimates().hedge_after == {}
    assert began(*[1.0] * MIN_FIRST_TOKENS).estimates().hedge_after == {"a": 1.0}


def test_late_is_later_than_nineteen_of_twenty() -> None:
    waits = [s / 100 for s in range(1, 61)]
    assert began(*waits).estimates().hedge_after == {"a": 0.58}
    assert sum(w > 0.58 for w in waits) <= 0.05 * len(waits)


def test_nothing_is_late_very_soon() -> None:
    assert began(*[0.001] * 30).estimates().hedge_after == {"a": MIN_HEDGE_SECONDS}


def test_first_tokens_are_those_of_the_last_calls() -> None:
    assert began(*[9.0] * CALLS_KEPT, *[1.0] * CALLS_KEPT).estimates().hedge_after == {"a": 1.0}


def test_first_tokens_come_from_events() -> None:
    learned = LatencyTracker()
    for _ in range(MIN_FIRST_TOKENS):
        learned.observe(ProposalFinished(1, call("a", 10, 2.0), 0.5))
        learned.observe(ProposalFinished(1, call("b", 10, 2.0)))  # nobody knows when it began
    assert learned.estimates().hedge_after == {"a": 0.5}
    assert learned.estimates().seconds == {"a": 2.0, "b": 2.0}


def test_a_call_that_was_cut_before_its_first_token_had_waited_so_long() -> None:
    learned = began(*[0.1] * (MIN_FIRST_TOKENS - 1))
    learned.observe(failed(CallCancelled, 3.0, "It had begun"))
    learned.observe(failed(ModelTimeout, 3.0))
    learned.observe(failed(CallCancelled, 3.0))  # nobody can say yet what is late
    assert learned.estimates().hedge_after == {}
    learned.observe(ProposalFinished(1, call("a", 10, 2.0), 0.1))
    learned.observe(failed(CallCancelled, 0.05))  # others sufficed before it could be late
    assert learned.estimates().hedge_after == {"a": 0.1}
    for _ in range(2):  # of 22
        learned.observe(failed(CallCancelled, 3.0))
    assert learned.estimates().hedge_after == {"a": 3.0}
    assert learned.estimates().seconds == {"a": 2.0}
