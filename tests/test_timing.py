"""What calls are expected to take: learned from calls, by length, and nothing where nothing was measured."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.core.errors import Cut, ModelError, TimedOut
from routemoa.core.events import ProposalFailed, ProposalFinished
from routemoa.core.types import ModelSpec, Proposal, Usage
from routemoa.mixture.layer import failure
from routemoa.routing.latency import FEWEST, KEPT, SOONEST, Expected, Pace


def call(model: str, tokens: int | None, seconds: float | None) -> Proposal:
    return Proposal(model, "x", Usage(1, tokens), seconds, None)


def pace(*calls: tuple[int, float], quantile: float = 0.5) -> Pace:
    learned = Pace(quantile)
    for tokens, seconds in calls:
        learned.learn(call("a", tokens, seconds))
    return learned


def test_nothing_measured_is_nothing_expected() -> None:
    learned = Pace()
    learned.learn(call("a", 100, None))
    assert learned.expected().seconds == learned.expected().tokens == {}
    assert learned.expected([call("a", 100, 1.0)]).seconds == {}


def test_tokens_that_nobody_counted_follow_from_the_text() -> None:
    learned = Pace()
    learned.learn(Proposal("a", "four" * 50, Usage(), 2.0, None))
    assert learned.expected() == Expected({"a": 50.0}, {"a": 2.0})


def test_the_middle_of_calls_of_one_length() -> None:
    expected = pace((100, 1.0), (100, 9.0), (100, 2.0)).expected()
    assert expected.tokens == {"a": 100}
    assert expected.seconds["a"] in (2.0, 9.0)  # of the closest half: the first two of equals
    assert pace(*[(100, float(s)) for s in range(1, 22)]).expected().seconds["a"] == 6.0  # the middle of eleven


def test_a_higher_quantile_expects_more() -> None:
    calls = [(100, float(s)) for s in range(1, 12)]
    low, high, most = (pace(*calls, quantile=q).expected().seconds["a"] for q in (0.0, 0.9, 1.0))
    assert (low, high, most) == (1.0, 6.0, 6.0)  # of the six closest


def test_seconds_are_those_of_answers_of_that_length() -> None:
    learned = pace(*[(100, 1.0)] * 5, *[(1000, 10.0)] * 5)
    assert learned.expected().tokens["a"] == 550
    short = learned.expected([call("a", 55, 0.5)])  # a tenth of what is usual
    long = learned.expected([call("a", 1100, 0.5)])
    assert short.seconds["a"] < 1.0 < 8.0 < long.seconds["a"]
    assert short.tokens["a"] == pytest.approx(55)


def test_answers_that_were_heard_tell_of_the_others() -> None:
    learned = Pace()
    for name, tokens in (("a", 100), ("b", 300)):
        learned.learn(call(name, tokens, 1.0))
    assert learned.expected([call("a", 200, 2.0)]).tokens == {"a": 200, "b": 600}
    assert learned.expected([call("c", 200, 2.0), call("a", 0, 2.0), call("b", None, None)]).tokens == {
        "a": 100,
        "b": 300,
    }


def test_one_call_tells_of_answers_from_half_to_twice_its_length() -> None:
    learned = pace((100, 1.0))
    assert learned.expected([call("a", 5000, 1.0)]).seconds == {"a": 2.0}
    assert learned.expected([call("a", 1, 1.0)]).seconds == {"a": 0.5}


def test_only_the_last_calls_are_remembered() -> None:
    learned = pace(*[(100, 50.0)] * KEPT, *[(100, 1.0)] * KEPT)
    assert learned.expected().seconds == {"a": 1.0}


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.floats(0, 1000)), min_size=1, max_size=100),
    st.integers(0, 5000),
    st.floats(0, 1),
)
def test_what_is_expected_lies_among_what_was_measured(
    calls: list[tuple[int, float]], heard: int, quantile: float
) -> None:
    learned = pace(*calls, quantile=quantile)
    kept = [s for _, s in calls[-KEPT:]]
    seconds = learned.expected([call("a", heard, 1.0)]).seconds["a"]
    assert min(kept) / 2 <= seconds <= max(kept) * 2
    assert learned.expected([call("a", heard, 1.0)]).seconds["a"] == seconds


def began(*seconds: float) -> Pace:
    learned = Pace()
    for wait in seconds:
        learned.began("a", wait)
    return learned


def failed(kind: type[ModelError], latency: float, partial: str = "") -> ProposalFailed:
    return ProposalFailed(1, failure(ModelSpec("a", "http://x"), kind("a", "why"), latency, None, partial))


def test_with_fewer_first_tokens_nobody_says_what_is_late() -> None:
    assert began(*[1.0] * (FEWEST - 1)).expected().late == {}
    assert began(*[1.0] * FEWEST).expected().late == {"a": 1.0}


def test_late_is_later_than_nineteen_of_twenty() -> None:
    waits = [s / 100 for s in range(1, 61)]
    assert began(*waits).expected().late == {"a": 0.58}
    assert sum(w > 0.58 for w in waits) <= 0.05 * len(waits)


def test_nothing_is_late_very_soon() -> None:
    assert began(*[0.001] * 30).expected().late == {"a": SOONEST}


def test_first_tokens_are_those_of_the_last_calls() -> None:
    assert began(*[9.0] * KEPT, *[1.0] * KEPT).expected().late == {"a": 1.0}


def test_first_tokens_come_from_events() -> None:
    learned = Pace()
    for _ in range(FEWEST):
        learned.hear(ProposalFinished(1, call("a", 10, 2.0), 0.5))
        learned.hear(ProposalFinished(1, call("b", 10, 2.0)))  # nobody knows when it began
    assert learned.expected().late == {"a": 0.5}
    assert learned.expected().seconds == {"a": 2.0, "b": 2.0}


def test_a_call_that_was_cut_before_its_first_token_had_waited_so_long() -> None:
    learned = began(*[0.1] * (FEWEST - 1))
    learned.hear(failed(Cut, 3.0, "It had begun"))
    learned.hear(failed(TimedOut, 3.0))
    learned.hear(failed(Cut, 3.0))  # nobody can say yet what is late
    assert learned.expected().late == {}
    learned.hear(ProposalFinished(1, call("a", 10, 2.0), 0.1))
    learned.hear(failed(Cut, 0.05))  # others sufficed before it could be late
    assert learned.expected().late == {"a": 0.1}
    for _ in range(2):  # of 22
        learned.hear(failed(Cut, 3.0))
    assert learned.expected().late == {"a": 3.0}
    assert learned.expected().seconds == {"a": 2.0}
