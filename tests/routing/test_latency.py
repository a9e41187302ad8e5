"""Estimates of what calls take: learned from calls, by length, and absent where nothing was measured."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.core.errors import CallCancelled, ModelError, ModelTimeout
from routemoa.core.events import ProposalFailed, ProposalFinished
from routemoa.core.trace import Proposal
from routemoa.core.types import ModelSpec
from routemoa.core.usage import Usage
from routemoa.mixture.calls.call_results import make_failure
from routemoa.routing.latency import CALLS_KEPT, MIN_FIRST_TOKENS, MIN_HEDGE_SECONDS, CallEstimates, LatencyTracker


def call(model: str, tokens: int | None, seconds: float | None) -> Proposal:
    return Proposal(model, "x", Usage(1, tokens), seconds, None)


def tracker_of(*calls: tuple[int, float], quantile: float = 0.5) -> LatencyTracker:
    tracker = LatencyTracker(quantile)
    for tokens, seconds in calls:
        tracker.record_answer(call("a", tokens, seconds))
    return tracker


def test_nothing_measured_is_nothing_expected() -> None:
    tracker = LatencyTracker()
    tracker.record_answer(call("a", 100, None))
    assert tracker.estimates().seconds == tracker.estimates().tokens == {}
    assert tracker.estimates([call("a", 100, 1.0)]).seconds == {}


def test_uncounted_tokens_follow_from_the_text() -> None:
    tracker = LatencyTracker()
    tracker.record_answer(Proposal("a", "four" * 50, Usage(), 2.0, None))
    assert tracker.estimates() == CallEstimates({"a": 50.0}, {"a": 2.0})


def test_the_middle_of_calls_of_one_length() -> None:
    estimates = tracker_of((100, 1.0), (100, 9.0), (100, 2.0)).estimates()
    assert estimates.tokens == {"a": 100}
    assert estimates.seconds["a"] in (2.0, 9.0)  # of the closest half: the first two of equals
    assert tracker_of(*[(100, float(s)) for s in range(1, 22)]).estimates().seconds["a"] == 6.0  # the middle of eleven


def test_a_higher_quantile_expects_more() -> None:
    calls = [(100, float(s)) for s in range(1, 12)]
    low, high, most = (tracker_of(*calls, quantile=q).estimates().seconds["a"] for q in (0.0, 0.9, 1.0))
    assert (low, high, most) == (1.0, 6.0, 6.0)  # of the six closest


def test_seconds_are_those_of_answers_of_that_length() -> None:
    tracker = tracker_of(*[(100, 1.0)] * 5, *[(1000, 10.0)] * 5)
    assert tracker.estimates().tokens["a"] == 550
    short = tracker.estimates([call("a", 55, 0.5)])  # a tenth of what is usual
    long = tracker.estimates([call("a", 1100, 0.5)])
    assert short.seconds["a"] < 1.0 < 8.0 < long.seconds["a"]
    assert short.tokens["a"] == pytest.approx(55)


def test_answers_so_far_stretch_the_estimates_of_others() -> None:
    tracker = LatencyTracker()
    for name, tokens in (("a", 100), ("b", 300)):
        tracker.record_answer(call(name, tokens, 1.0))
    assert tracker.estimates([call("a", 200, 2.0)]).tokens == {"a": 200, "b": 600}
    assert tracker.estimates([call("c", 200, 2.0), call("a", 0, 2.0), call("b", None, None)]).tokens == {
        "a": 100,
        "b": 300,
    }


def test_one_call_predicts_answers_from_half_to_twice_its_length() -> None:
    tracker = tracker_of((100, 1.0))
    assert tracker.estimates([call("a", 5000, 1.0)]).seconds == {"a": 2.0}
    assert tracker.estimates([call("a", 1, 1.0)]).seconds == {"a": 0.5}


def test_only_the_last_calls_are_remembered() -> None:
    tracker = tracker_of(*[(100, 50.0)] * CALLS_KEPT, *[(100, 1.0)] * CALLS_KEPT)
    assert tracker.estimates().seconds == {"a": 1.0}


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.floats(0, 1000)), min_size=1, max_size=100),
    st.integers(0, 5000),
    st.floats(0, 1),
)
def test_what_is_expected_lies_among_what_was_measured(
    calls: list[tuple[int, float]], tokens: int, quantile: float
) -> None:
    tracker = tracker_of(*calls, quantile=quantile)
    kept = [s for _, s in calls[-CALLS_KEPT:]]
    seconds = tracker.estimates([call("a", tokens, 1.0)]).seconds["a"]
    assert min(kept) / 2 <= seconds <= max(kept) * 2
    assert tracker.estimates([call("a", tokens, 1.0)]).seconds["a"] == seconds


def tracker_of_first_tokens(*seconds: float) -> LatencyTracker:
    tracker = LatencyTracker()
    for wait in seconds:
        tracker.record_first_token("a", wait)
    return tracker


def failed(kind: type[ModelError], latency: float, partial: str = "") -> ProposalFailed:
    return ProposalFailed(1, make_failure(ModelSpec("a", "http://x"), kind("a", "why"), latency, None, partial))


def test_with_fewer_first_tokens_none_is_late() -> None:
    assert tracker_of_first_tokens(*[1.0] * (MIN_FIRST_TOKENS - 1)).estimates().hedge_after == {}
    assert tracker_of_first_tokens(*[1.0] * MIN_FIRST_TOKENS).estimates().hedge_after == {"a": 1.0}


def test_late_is_later_than_nineteen_of_twenty() -> None:
    waits = [s / 100 for s in range(1, 61)]
    assert tracker_of_first_tokens(*waits).estimates().hedge_after == {"a": 0.58}
    assert sum(w > 0.58 for w in waits) <= 0.05 * len(waits)


def test_nothing_is_late_very_soon() -> None:
    assert tracker_of_first_tokens(*[0.001] * 30).estimates().hedge_after == {"a": MIN_HEDGE_SECONDS}


def test_first_tokens_are_those_of_the_last_calls() -> None:
    assert tracker_of_first_tokens(*[9.0] * CALLS_KEPT, *[1.0] * CALLS_KEPT).estimates().hedge_after == {"a": 1.0}


def test_first_tokens_come_from_events() -> None:
    tracker = LatencyTracker()
    for _ in range(MIN_FIRST_TOKENS):
        tracker.observe(ProposalFinished(1, call("a", 10, 2.0), 0.5))
        tracker.observe(ProposalFinished(1, call("b", 10, 2.0)))  # its first token was not measured
    assert tracker.estimates().hedge_after == {"a": 0.5}
    assert tracker.estimates().seconds == {"a": 2.0, "b": 2.0}


def test_a_call_cancelled_before_its_first_token_has_waited_that_long() -> None:
    tracker = tracker_of_first_tokens(*[0.1] * (MIN_FIRST_TOKENS - 1))
    tracker.observe(failed(CallCancelled, 3.0, "It had begun"))
    tracker.observe(failed(ModelTimeout, 3.0))
    tracker.observe(failed(CallCancelled, 3.0))  # too few first tokens are known to say what is late
    assert tracker.estimates().hedge_after == {}
    tracker.observe(ProposalFinished(1, call("a", 10, 2.0), 0.1))
    tracker.observe(failed(CallCancelled, 0.05))  # others sufficed before it could be late
    assert tracker.estimates().hedge_after == {"a": 0.1}
    for _ in range(2):  # of 22
        tracker.observe(failed(CallCancelled, 3.0))
    assert tracker.estimates().hedge_after == {"a": 3.0}
    assert tracker.estimates().seconds == {"a": 2.0}


def test_how_fast_a_model_reads_follows_from_its_first_tokens() -> None:
    tracker = LatencyTracker()
    for prompt, cached, first in ((1000, None, 2.0), (1000, 900, 0.3), (2000, 0, 4.0), (63, 0, 9.0), (None, None, 9.0)):
        usage = Usage(prompt, 10, cached)
        tracker.observe(ProposalFinished(1, Proposal("m", "x", usage, 5.0, None), first))
    assert tracker.estimates().read_seconds == {"m": pytest.approx(0.002)}
