"""Expected gains never fall, stay below what there is to win, and are larger where answers differ."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from routemoa.judging.expected_gains import expected_gains
from routemoa.judging.posterior import ErrorCorrelation, Vote, infer
from tests.judging.test_posterior import correlations, make_votes, probability, some_votes


@given(some_votes, correlations, st.lists(probability, max_size=9), st.booleans())
def test_gains_are_never_negative_and_never_fall(
    votes: list[Vote], correlation: ErrorCorrelation, priors: list[float], closed: bool
) -> None:
    if not closed:
        votes = make_votes([(v.prior, v.group or 0, v.weight) for v in votes])
    posterior = infer(votes, correlation, closed=closed)
    gains = expected_gains(posterior, priors, correlation)
    assert len(gains) == min(len(priors), 6)
    assert all(g >= 0 for g in gains)
    assert all(b >= a - 1e-12 for a, b in pairwise(gains))
    assert (
        max(gains, default=0.0) <= 1 - posterior.leader_probability + 1e-9
    )  # more than all there is to win cannot be won


def test_gains_are_larger_where_answers_differ_and_with_better_models() -> None:
    agreed = infer([Vote("a", 0.7, 0), Vote("b", 0.7, 0)], ErrorCorrelation())
    apart = infer([Vote("a", 0.7, 0), Vote("b", 0.7, 1)], ErrorCorrelation())
    good, bad = [0.8, 0.8], [0.1, 0.1]
    assert expected_gains(apart, good, ErrorCorrelation())[1] > 5 * expected_gains(agreed, good, ErrorCorrelation())[1]
    assert expected_gains(apart, good, ErrorCorrelation())[1] > 5 * expected_gains(apart, bad, ErrorCorrelation())[1]
