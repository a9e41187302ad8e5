"""The laws of what answers make believable: votes, agreement, kinship, and what one more answer would tell."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.judging.posterior import NODES, WEIGHTS, Belief, Correlation, Vote, any_right, believe, gains, outlook

probability = st.floats(0, 1)
unclear = st.floats(0.1, 0.9)
correlations = st.builds(Correlation, st.floats(0, 3.5), st.floats(0.5, 50))
USUAL = Correlation()
KIN = Correlation(kinship={"a|b": 1.0})


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


def sure(*votes: Vote, correlation: Correlation = USUAL) -> float:
    return believe(list(votes), correlation).sure


def test_nodes_and_weights_are_those_of_a_normal_variable() -> None:
    moments = [sum(w * x**n for w, x in zip(WEIGHTS, NODES, strict=True)) for n in range(5)]
    assert moments == pytest.approx([1, 0, 1, 0, 3], abs=1e-12)


@given(some_votes, correlations, st.lists(st.floats(-2000, 2000), max_size=4), st.floats(0, 2))
def test_of_a_closed_question_at_most_one_group_is_right(
    votes: list[Vote], correlation: Correlation, evidence: list[float], trust: float
) -> None:
    groups = 1 + max((v.group for v in votes if v.group is not None), default=-1)
    belief = believe(votes, correlation, evidence[:groups], trust=trust)
    assert len(belief.right) == groups
    assert all(0 <= p <= 1 for p in belief.right)
    assert sum(belief.right) <= 1 + 1e-9
    assert sum(map(sum, belief.joint)) == pytest.approx(1)
    assert [sum(row) for row in belief.joint[1:]] == pytest.approx(list(belief.right), abs=1e-9)
    assert all(0 <= g <= 1 + 1e-9 for g in gains(belief, [0.9, 0.1, 0.5], correlation))


@given(some_votes.filter(lambda votes: all(v.group is not None for v in votes)), correlations)
def test_of_an_open_question_every_group_stands_for_itself(votes: list[Vote], correlation: Correlation) -> None:
    belief = believe(votes, correlation, closed=False)
    assert not belief.exclusive
    assert all(0 < p < 1 for p in belief.right)
    assert sum(map(sum, belief.joint)) == pytest.approx(1)
    for g, p in enumerate(belief.right):
        best = max(v.prior for v in votes if v.group == g)
        assert p == pytest.approx(min(max(best, 0.02), 0.98), abs=1e-3)


@given(unclear, correlations)
def test_one_vote_alone_gives_about_its_prior(prior: float, correlation: Correlation) -> None:
    assert believe([Vote("a", prior, 0)], correlation).right[0] == pytest.approx(prior, abs=0.03)


@given(st.floats(0.3, 0.9), st.floats(0.3, 0.9), st.builds(Correlation, st.floats(0, 3.5), st.floats(4, 50)))
def test_two_that_agree_beat_either_and_two_that_do_not_lower_both(
    p: float, q: float, correlation: Correlation
) -> None:
    alone = [believe([Vote("a", x, 0)], correlation).sure for x in (p, q)]
    agreed = believe([Vote("a", p, 0), Vote("b", q, 0)], correlation)
    apart = believe([Vote("a", p, 0), Vote("b", q, 1)], correlation)
    assert agreed.right[0] > max(alone)
    assert apart.right[0] < alone[0]
    assert apart.right[1] < alone[1]


def test_by_hand_without_shared_difficulty() -> None:
    """Two of prior 0.6 agree: right 0.36, wrong together 0.16 of which 1/6 on the same answer, a scatter of 5."""
    flat = Correlation(spread=0.0, scatter=5.0)
    assert sure(Vote("a", 0.6, 0), Vote("b", 0.6, 0), correlation=flat) == pytest.approx(0.36 / (0.36 + 0.16 / 6))
    apart = believe([Vote("a", 0.6, 0), Vote("b", 0.6, 1)], flat)
    assert apart.right == pytest.approx([0.24 / (0.48 + 0.16 * 5 / 6)] * 2)


def test_who_is_wrong_more_often_than_wrong_answers_differ_is_no_support() -> None:
    """A wrong answer meets another one with 1 / (1 + scatter): agreement is worth nothing at q = 1 / (2 + scatter)."""
    flat = Correlation(spread=0.0, scatter=2.0)
    for q, sign in ((0.2, -1), (0.25, 0), (0.3, 1)):
        more = sure(Vote("a", 0.6, 0), Vote("b", q, 0), correlation=flat) - 0.6
        assert (more > 1e-9) - (more < -1e-9) == sign


def test_shared_difficulty_makes_agreement_worth_less_and_a_failed_vote_a_bad_sign() -> None:
    one, other = Vote("a", 0.6, 0), Vote("b", 0.6, 0)
    assert sure(one, other, correlation=Correlation(spread=2.0)) < sure(one, other, correlation=Correlation(spread=0.0))
    assert sure(one, Vote("b", 0.6, None)) < sure(one)
    assert sure(one, Vote("b", 0.6, None), correlation=Correlation(spread=0.0)) == pytest.approx(0.6)


@given(unclear, unclear, unclear, correlations)
def test_a_vote_of_no_weight_and_one_of_a_twin_add_nothing(
    p: float, q: float, r: float, correlation: Correlation
) -> None:
    votes = [Vote("a", p, 0), Vote("c", r, 1)]
    without = believe(votes, correlation)
    weightless = believe([*votes, Vote("b", q, 0, 0.0)], correlation)
    twin = believe([*votes, Vote("b", q, 0)], Correlation(correlation.spread, correlation.scatter, {"a|b": 1.0}))
    silent = believe([*votes, Vote("b", q, None, 0.0)], correlation)
    for belief in (weightless, twin, silent):
        assert belief.right == pytest.approx(without.right)


def test_half_a_vote_adds_less_than_a_whole_one() -> None:
    votes = [Vote("a", 0.6, 0), Vote("c", 0.6, 1)]
    halves = [believe([*votes, Vote("b", 0.6, 0, w)], Correlation()).right[0] for w in (0.0, 0.5, 1.0)]
    assert halves[0] < halves[1] < halves[2]
    kin = [believe([*votes, Vote("b", 0.6, 0)], Correlation(kinship={"a|b": k})).right[0] for k in (1.0, 0.5, 0.0)]
    assert kin == pytest.approx(halves)


def test_kinship_says_nothing_where_kin_disagree() -> None:
    apart = [Vote("a", 0.6, 0), Vote("b", 0.6, 1)]
    assert believe(apart, KIN).right == believe(apart, Correlation()).right
    assert (KIN.kin("a", "b"), KIN.kin("b", "a"), KIN.kin("a", "c")) == (1.0, 1.0, 0.0)


def test_evidence_and_trust_move_the_odds_by_as_much_as_they_say() -> None:
    votes = [Vote("a", 0.6, 0), Vote("b", 0.7, 1)]
    plain, told = believe(votes, Correlation()), believe(votes, Correlation(), [1.0])
    nobody, nobody_told = 1 - sum(plain.right), 1 - sum(told.right)
    assert told.right[0] / nobody_told == pytest.approx(2.718281828 * plain.right[0] / nobody)
    assert told.right[1] / nobody_told == pytest.approx(plain.right[1] / nobody)
    half = believe(votes, Correlation(), trust=0.5)
    # Half way from the odds of the prior to those of the votes.
    assert half.right[0] / (1 - sum(half.right)) == pytest.approx((0.6 / 0.4 * plain.right[0] / nobody) ** 0.5)
    assert believe([Vote("a", 0.6, 0)], Correlation(), trust=0.3).right[0] == pytest.approx(0.6, abs=0.01)


@given(some_votes, correlations, st.lists(probability, max_size=9), st.booleans())
def test_gains_are_never_negative_and_never_fall(
    votes: list[Vote], correlation: Correlation, priors: list[float], closed: bool
) -> None:
    if not closed:
        votes = votes_of([(v.prior, v.group or 0, v.weight) for v in votes])
    belief = believe(votes, correlation, closed=closed)
    found = gains(belief, priors, correlation)
    assert len(found) == min(len(priors), 6)
    assert all(g >= 0 for g in found)
    assert all(b >= a - 1e-12 for a, b in pairwise(found))
    assert max(found, default=0.0) <= 1 - belief.sure + 1e-9  # more than all there is to win cannot be won


def test_gains_are_larger_where_answers_differ_and_with_better_models() -> None:
    agreed = believe([Vote("a", 0.7, 0), Vote("b", 0.7, 0)], Correlation())
    apart = believe([Vote("a", 0.7, 0), Vote("b", 0.7, 1)], Correlation())
    good, bad = [0.8, 0.8], [0.1, 0.1]
    assert gains(apart, good, Correlation())[1] > 5 * gains(agreed, good, Correlation())[1]
    assert gains(apart, good, Correlation())[1] > 5 * gains(apart, bad, Correlation())[1]


@given(st.lists(probability, max_size=30), probability, correlations)
def test_any_right_rises_with_every_model_and_is_a_probability(
    priors: list[float], more: float, correlation: Correlation
) -> None:
    without, with_ = any_right(priors, correlation), any_right([*priors, more], correlation)
    assert 0 <= without <= with_ <= 1


def test_any_right_of_independent_models_by_hand() -> None:
    assert any_right([0.5, 0.5, 0.5], Correlation(spread=0.0)) == pytest.approx(0.875)
    assert any_right([0.5, 0.5, 0.5], Correlation(spread=2.0)) < 0.8  # who fails together covers less
    assert any_right([0.98] * 30, Correlation(spread=0.0)) <= 1


@given(some_votes, st.lists(probability, min_size=1, max_size=5), correlations)
def test_the_outlook_is_a_probability_for_each_and_keeps_their_order(
    votes: list[Vote], priors: list[float], correlation: Correlation
) -> None:
    later = outlook(believe(votes, correlation), sorted(priors), correlation)
    assert all(0 <= p <= 1 for p in later)
    assert all(b >= a - 1e-9 for a, b in pairwise(later))


def test_an_easy_looking_query_raises_the_outlook_and_a_hard_one_lowers_it() -> None:
    easy = believe([Vote(m, 0.6, 0) for m in "abc"], Correlation())
    hard = believe([Vote(m, 0.6, i) for i, m in enumerate("abc")], Correlation())
    assert outlook(hard, [0.6], Correlation())[0] < 0.6 < outlook(easy, [0.6], Correlation())[0]


def test_nothing_heard_is_nothing_believed() -> None:
    for closed in (True, False):
        nothing = believe([], Correlation(), closed=closed)
        assert (nothing.leader, nothing.sure, nothing.right) == (None, 0.0, ())
        assert outlook(nothing, [0.6], Correlation())[0] == pytest.approx(0.6, abs=0.03)
        assert gains(nothing, [], Correlation()) == []
        assert gains(nothing, [0.6], Correlation())[0] == pytest.approx(0.6, abs=0.03)


def test_the_earlier_of_equals_leads() -> None:
    assert Belief(((0.2,), (0.4,), (0.4,)), (0.4, 0.4)).leader == 0
    assert Belief(((0.2,), (0.3,), (0.5,)), (0.3, 0.5)).leader == 1
