"""The laws of what answers make believable: votes, agreement, kinship, and what one more answer would tell."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.judging.difficulty import DIFFICULTY_NODES, DIFFICULTY_WEIGHTS
from routemoa.judging.expected_gains import expected_gains
from routemoa.judging.posterior import (
    ErrorCorrelation,
    Posterior,
    Vote,
    infer,
    probability_any_right,
    updated_priors,
)

probability = st.floats(0, 1)
unclear = st.floats(0.1, 0.9)
correlations = st.builds(ErrorCorrelation, st.floats(0, 3.5), st.floats(0.5, 50))
USUAL = ErrorCorrelation()
KIN = ErrorCorrelation(pairwise_error_correlation={"a|b": 1.0})


def votes_of(draws: list[tuple[float, int | None, float]]) -> list[Vote]:
    """Votes whose groups are numbered by first appearance."""
    number: dict[int, int] = {}
    for _, g, _ in draws:
        if g is not None:
            number.setdefault(g, len(number))
    return [Vote(f"m{i}", p, None if g is None else number[g], w) for i, (p, g, w) in enumerate(draws)]


some_votes = st.lists(
    st.tuples(probability, st.none() | st.integers(0, 3), st.sampled_from([0.0, 0.5, 1.0])), max_size=7
).map(votes_of)


def sure(*votes: Vote, correlation: ErrorCorrelation = USUAL) -> float:
    return infer(list(votes), correlation).leader_probability


def test_nodes_and_weights_are_those_of_a_normal_variable() -> None:
    moments = [sum(w * x**n for w, x in zip(DIFFICULTY_WEIGHTS, DIFFICULTY_NODES, strict=True)) for n in range(5)]
    assert moments == pytest.approx([1, 0, 1, 0, 3], abs=1e-12)


@given(some_votes, correlations, st.lists(st.floats(-2000, 2000), max_size=4), st.floats(0, 2))
def test_of_a_closed_question_at_most_one_group_is_right(
    votes: list[Vote], correlation: ErrorCorrelation, evidence: list[float], trust: float
) -> None:
    groups = 1 + max((v.group for v in votes if v.group is not None), default=-1)
    belief = infer(votes, correlation, evidence[:groups], vote_coefficient=trust)
    assert len(belief.probabilities) == groups
    assert all(0 <= p <= 1 for p in belief.probabilities)
    assert sum(belief.probabilities) <= 1 + 1e-9
    assert sum(map(sum, belief.joint)) == pytest.approx(1)
    assert [sum(row) for row in belief.joint[1:]] == pytest.approx(list(belief.probabilities), abs=1e-9)
    assert all(0 <= g <= 1 + 1e-9 for g in expected_gains(belief, [0.9, 0.1, 0.5], correlation))


@given(some_votes.filter(lambda votes: all(v.group is not None for v in votes)), correlations)
def test_of_an_open_question_every_group_stands_for_itself(votes: list[Vote], correlation: ErrorCorrelation) -> None:
    belief = infer(votes, correlation, closed=False)
    assert not belief.exclusive
    assert all(0 < p < 1 for p in belief.probabilities)
    assert sum(map(sum, belief.joint)) == pytest.approx(1)
    for g, p in enumerate(belief.probabilities):
        best = max(v.prior for v in votes if v.group == g)
        assert p == pytest.approx(min(max(best, 0.02), 0.98), abs=1e-3)


@given(unclear, correlations)
def test_one_vote_alone_gives_about_its_prior(prior: float, correlation: ErrorCorrelation) -> None:
    assert infer([Vote("a", prior, 0)], correlation).probabilities[0] == pytest.approx(prior, abs=0.03)


@given(st.floats(0.3, 0.9), st.floats(0.3, 0.9), st.builds(ErrorCorrelation, st.floats(0, 3.5), st.floats(4, 50)))
def test_two_that_agree_beat_either_and_two_that_do_not_lower_both(
    p: float, q: float, correlation: ErrorCorrelation
) -> None:
    alone = [infer([Vote("a", x, 0)], correlation).leader_probability for x in (p, q)]
    agreed = infer([Vote("a", p, 0), Vote("b", q, 0)], correlation)
    apart = infer([Vote("a", p, 0), Vote("b", q, 1)], correlation)
    assert agreed.probabilities[0] > max(alone)
    assert apart.probabilities[0] < alone[0]
    assert apart.probabilities[1] < alone[1]


def test_by_hand_without_shared_difficulty() -> None:
    """Two of prior 0.6 agree: right 0.36, wrong together 0.16 of which 1/6 on the same answer, a scatter of 5."""
    flat = ErrorCorrelation(difficulty_sd=0.0, error_concentration=5.0)
    assert sure(Vote("a", 0.6, 0), Vote("b", 0.6, 0), correlation=flat) == pytest.approx(0.36 / (0.36 + 0.16 / 6))
    apart = infer([Vote("a", 0.6, 0), Vote("b", 0.6, 1)], flat)
    assert apart.probabilities == pytest.approx([0.24 / (0.48 + 0.16 * 5 / 6)] * 2)


def test_who_is_wrong_more_often_than_wrong_answers_differ_is_no_support() -> None:
    """A wrong answer meets another one with 1 / (1 + scatter): agreement is worth nothing at q = 1 / (2 + scatter)."""
    flat = ErrorCorrelation(difficulty_sd=0.0, error_concentration=2.0)
    for q, sign in ((0.2, -1), (0.25, 0), (0.3, 1)):
        more = sure(Vote("a", 0.6, 0), Vote("b", q, 0), correlation=flat) - 0.6
        assert (more > 1e-9) - (more < -1e-9) == sign


def test_shared_difficulty_makes_agreement_worth_less_and_a_failed_vote_a_bad_sign() -> None:
    one, other = Vote("a", 0.6, 0), Vote("b", 0.6, 0)
    assert sure(one, other, correlation=ErrorCorrelation(difficulty_sd=2.0)) < sure(
        one, other, correlation=ErrorCorrelation(difficulty_sd=0.0)
    )
    assert sure(one, Vote("b", 0.6, None)) < sure(one)
    assert sure(one, Vote("b", 0.6, None), correlation=ErrorCorrelation(difficulty_sd=0.0)) == pytest.approx(0.6)


@given(unclear, unclear, unclear, correlations)
def test_a_vote_of_no_weight_and_one_of_a_twin_add_nothing(
    p: float, q: float, r: float, correlation: ErrorCorrelation
) -> None:
    votes = [Vote("a", p, 0), Vote("c", r, 1)]
    without = infer(votes, correlation)
    weightless = infer([*votes, Vote("b", q, 0, 0.0)], correlation)
    twin = infer(
        [*votes, Vote("b", q, 0)],
        ErrorCorrelation(correlation.difficulty_sd, correlation.error_concentration, {"a|b": 1.0}),
    )
    silent = infer([*votes, Vote("b", q, None, 0.0)], correlation)
    for belief in (weightless, twin, silent):
        assert belief.probabilities == pytest.approx(without.probabilities)


def test_half_a_vote_adds_less_than_a_whole_one() -> None:
    votes = [Vote("a", 0.6, 0), Vote("c", 0.6, 1)]
    halves = [infer([*votes, Vote("b", 0.6, 0, w)], ErrorCorrelation()).probabilities[0] for w in (0.0, 0.5, 1.0)]
    assert halves[0] < halves[1] < halves[2]
    kin = [
        infer([*votes, Vote("b", 0.6, 0)], ErrorCorrelation(pairwise_error_correlation={"a|b": k})).probabilities[0]
        for k in (1.0, 0.5, 0.0)
    ]
    assert kin == pytest.approx(halves)


def test_kinship_says_nothing_where_kin_disagree() -> None:
    apart = [Vote("a", 0.6, 0), Vote("b", 0.6, 1)]
    assert infer(apart, KIN).probabilities == infer(apart, ErrorCorrelation()).probabilities
    assert (KIN.between("a", "b"), KIN.between("b", "a"), KIN.between("a", "c")) == (1.0, 1.0, 0.0)


def test_evidence_and_trust_move_the_odds_by_as_much_as_they_say() -> None:
    votes = [Vote("a", 0.6, 0), Vote("b", 0.7, 1)]
    plain, told = infer(votes, ErrorCorrelation()), infer(votes, ErrorCorrelation(), [1.0])
    nobody, nobody_told = 1 - sum(plain.probabilities), 1 - sum(told.probabilities)
    assert told.probabilities[0] / nobody_told == pytest.approx(2.718281828 * plain.probabilities[0] / nobody)
    assert told.probabilities[1] / nobody_told == pytest.approx(plain.probabilities[1] / nobody)
    half = infer(votes, ErrorCorrelation(), vote_coefficient=0.5)
    # Half way from the odds of the prior to those of the votes.
    assert half.probabilities[0] / (1 - sum(half.probabilities)) == pytest.approx(
        (0.6 / 0.4 * plain.probabilities[0] / nobody) ** 0.5
    )
    assert infer([Vote("a", 0.6, 0)], ErrorCorrelation(), vote_coefficient=0.3).probabilities[0] == pytest.approx(
        0.6, abs=0.01
    )


@given(some_votes, correlations, st.lists(probability, max_size=9), st.booleans())
def test_gains_are_never_negative_and_never_fall(
    votes: list[Vote], correlation: ErrorCorrelation, priors: list[float], closed: bool
) -> None:
    if not closed:
        votes = votes_of([(v.prior, v.group or 0, v.weight) for v in votes])
    belief = infer(votes, correlation, closed=closed)
    found = expected_gains(belief, priors, correlation)
    assert len(found) == min(len(priors), 6)
    assert all(g >= 0 for g in found)
    assert all(b >= a - 1e-12 for a, b in pairwise(found))
    assert (
        max(found, default=0.0) <= 1 - belief.leader_probability + 1e-9
    )  # more than all there is to win cannot be won


def test_gains_are_larger_where_answers_differ_and_with_better_models() -> None:
    agreed = infer([Vote("a", 0.7, 0), Vote("b", 0.7, 0)], ErrorCorrelation())
    apart = infer([Vote("a", 0.7, 0), Vote("b", 0.7, 1)], ErrorCorrelation())
    good, bad = [0.8, 0.8], [0.1, 0.1]
    assert expected_gains(apart, good, ErrorCorrelation())[1] > 5 * expected_gains(agreed, good, ErrorCorrelation())[1]
    assert expected_gains(apart, good, ErrorCorrelation())[1] > 5 * expected_gains(apart, bad, ErrorCorrelation())[1]


@given(st.lists(probability, max_size=30), probability, correlations)
def test_any_right_rises_with_every_model_and_is_a_probability(
    priors: list[float], more: float, correlation: ErrorCorrelation
) -> None:
    without, with_ = probability_any_right(priors, correlation), probability_any_right([*priors, more], correlation)
    assert 0 <= without <= with_ <= 1


def test_any_right_of_independent_models_by_hand() -> None:
    assert probability_any_right([0.5, 0.5, 0.5], ErrorCorrelation(difficulty_sd=0.0)) == pytest.approx(0.875)
    assert (
        probability_any_right([0.5, 0.5, 0.5], ErrorCorrelation(difficulty_sd=2.0)) < 0.8
    )  # who fails together covers less
    assert probability_any_right([0.98] * 30, ErrorCorrelation(difficulty_sd=0.0)) <= 1


@given(some_votes, st.lists(probability, min_size=1, max_size=5), correlations)
def test_the_outlook_is_a_probability_for_each_and_keeps_their_order(
    votes: list[Vote], priors: list[float], correlation: ErrorCorrelation
) -> None:
    later = updated_priors(infer(votes, correlation), sorted(priors), correlation)
    assert all(0 <= p <= 1 for p in later)
    assert all(b >= a - 1e-9 for a, b in pairwise(later))


def test_an_easy_looking_query_raises_the_outlook_and_a_hard_one_lowers_it() -> None:
    easy = infer([Vote(m, 0.6, 0) for m in "abc"], ErrorCorrelation())
    hard = infer([Vote(m, 0.6, i) for i, m in enumerate("abc")], ErrorCorrelation())
    assert updated_priors(hard, [0.6], ErrorCorrelation())[0] < 0.6 < updated_priors(easy, [0.6], ErrorCorrelation())[0]


def test_nothing_heard_is_nothing_believed() -> None:
    for closed in (True, False):
        nothing = infer([], ErrorCorrelation(), closed=closed)
        assert (nothing.leader, nothing.leader_probability, nothing.probabilities) == (None, 0.0, ())
        assert updated_priors(nothing, [0.6], ErrorCorrelation())[0] == pytest.approx(0.6, abs=0.03)
        assert expected_gains(nothing, [], ErrorCorrelation()) == []
        assert expected_gains(nothing, [0.6], ErrorCorrelation())[0] == pytest.approx(0.6, abs=0.03)


def test_the_earlier_of_equals_leads() -> None:
    assert Posterior(((0.2,), (0.4,), (0.4,)), (0.4, 0.4)).leader == 0
    assert Posterior(((0.2,), (0.3,), (0.5,)), (0.3, 0.5)).leader == 1
