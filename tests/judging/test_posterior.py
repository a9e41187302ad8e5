"""The laws of what answers make believable: votes, agreement, kinship, and what one more answer would tell."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.judging.posterior import ErrorCorrelation, Posterior, Vote, infer, probability_any_right, updated_priors
from routemoa.judging.expected_gains import expected_gains
from routemoa.judging.difficulty import DIFFICULTY_NODES, DIFFICULTY_WEIGHTS

probability = st.floats(0, 1)
unclear = st.floats(0.1, 0.9)
correlations = st.builds(ErrorCorrelation, st.floats(0, 3.5), st.floats(0.5, 50))
USUAL = ErrorCorrelation()
CORRELATED = ErrorCorrelation(pairwise_error_correlation={"a|b": 1.0})


def make_votes(draws: list[tuple[float, int | None, float]]) -> list[Vote]:
    """Votes whose groups are numbered by first appearance."""
    number: dict[int, int] = {}
    for _, g, _ in draws:
        if g is not None:
            number.setdefault(g, len(number))
    return [Vote(f"m{i}", p, None if g is None else number[g], w) for i, (p, g, w) in enumerate(draws)]


some_votes = st.lists(
    st.tuples(probability, st.none() | st.integers(0, 3), st.sampled_from([0.0, 0.5, 1.0])), max_size=7
).map(make_votes)


def leader_probability(*votes: Vote, correlation: ErrorCorrelation = USUAL) -> float:
    return infer(list(votes), correlation).leader_probability


def test_nodes_and_weights_are_those_of_a_normal_variable() -> None:
    moments = [sum(w * x**n for w, x in zip(DIFFICULTY_WEIGHTS, DIFFICULTY_NODES, strict=True)) for n in range(5)]
    assert moments == pytest.approx([1, 0, 1, 0, 3], abs=1e-12)


@given(some_votes, correlations, st.lists(st.floats(-2000, 2000), max_size=4), st.floats(0, 2))
def test_of_a_closed_question_at_most_one_group_is_right(
    votes: list[Vote], correlation: ErrorCorrelation, evidence: list[float], vote_coefficient: float
) -> None:
    groups = 1 + max((v.group for v in votes if v.group is not None), default=-1)
    posterior = infer(votes, correlation, evidence[:groups], vote_coefficient=vote_coefficient)
    assert len(posterior.probabilities) == groups
    assert all(0 <= p <= 1 for p in posterior.probabilities)
    assert sum(posterior.probabilities) <= 1 + 1e-9
    assert sum(map(sum, posterior.joint)) == pytest.approx(1)
    assert [sum(row) for row in posterior.joint[1:]] == pytest.approx(list(posterior.probabilities), abs=1e-9)
    assert all(0 <= g <= 1 + 1e-9 for g in expected_gains(posterior, [0.9, 0.1, 0.5], correlation))


@given(some_votes.filter(lambda votes: all(v.group is not None for v in votes)), correlations)
def test_of_an_open_question_every_group_stands_for_itself(votes: list[Vote], correlation: ErrorCorrelation) -> None:
    posterior = infer(votes, correlation, closed=False)
    assert not posterior.exclusive
    assert all(0 < p < 1 for p in posterior.probabilities)
    assert sum(map(sum, posterior.joint)) == pytest.approx(1)
    for g, p in enumerate(posterior.probabilities):
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
    assert leader_probability(Vote("a", 0.6, 0), Vote("b", 0.6, 0), correlation=flat) == pytest.approx(0.36 / (0.36 + 0.16 / 6))
    apart = infer([Vote("a", 0.6, 0), Vote("b", 0.6, 1)], flat)
    assert apart.probabilities == pytest.approx([0.24 / (0.48 + 0.16 * 5 / 6)] * 2)


def test_a_model_wrong_more_often_than_wrong_answers_differ_is_no_support() -> None:
    """A wrong answer meets another one with 1 / (1 + scatter): agreement is worth nothing at q = 1 / (2 + scatter)."""
    flat = ErrorCorrelation(difficulty_sd=0.0, error_concentration=2.0)
    for q, sign in ((0.2, -1), (0.25, 0), (0.3, 1)):
        more = leader_probability(Vote("a", 0.6, 0), Vote("b", q, 0), correlation=flat) - 0.6
        assert (more > 1e-9) - (more < -1e-9) == sign


def test_shared_difficulty_makes_agreement_worth_less_and_a_failed_vote_a_bad_sign() -> None:
    one, other = Vote("a", 0.6, 0), Vote("b", 0.6, 0)
    assert leader_probability(one, other, correlation=ErrorCorrelation(difficulty_sd=2.0)) < leader_probability(
        one, other, correlation=ErrorCorrelation(difficulty_sd=0.0)
    )
    assert leader_probability(one, Vote("b", 0.6, None)) < leader_probability(one)
    assert leader_probability(one, Vote("b", 0.6, None), correlation=ErrorCorrelation(difficulty_sd=0.0)) == pytest.approx(0.6)


@given(unclear, unclear, unclear, correlations)
def test_a_vote_of_no_weight_and_one_of_a_duplicate_add_nothing(
    p: float, q: float, r: float, correlation: ErrorCorrelation
) -> None:
    votes = [Vote("a", p, 0), Vote("c", r, 1)]
    without = infer(votes, correlation)
    weightless = infer([*votes, Vote("b", q, 0, 0.0)], correlation)
    duplicate = infer(
        [*votes, Vote("b", q, 0)],
        ErrorCorrelation(correlation.difficulty_sd, correlation.error_concentration, {"a|b": 1.0}),
    )
    silent = infer([*votes, Vote("b", q, None, 0.0)], correlation)
    for posterior in (weightless, duplicate, silent):
        assert posterior.probabilities == pytest.approx(without.probabilities)


def test_half_a_vote_adds_less_than_a_whole_one() -> None:
    votes = [Vote("a", 0.6, 0), Vote("c", 0.6, 1)]
    halves = [infer([*votes, Vote("b", 0.6, 0, w)], ErrorCorrelation()).probabilities[0] for w in (0.0, 0.5, 1.0)]
    assert halves[0] < halves[1] < halves[2]
    correlated = [
        infer([*votes, Vote("b", 0.6, 0)], ErrorCorrelation(pairwise_error_correlation={"a|b": k})).probabilities[0]
        for k in (1.0, 0.5, 0.0)
    ]
    assert correlated == pytest.approx(halves)


def test_pairwise_correlation_says_nothing_where_the_pair_disagrees() -> None:
    apart = [Vote("a", 0.6, 0), Vote("b", 0.6, 1)]
    assert infer(apart, CORRELATED).probabilities == infer(apart, ErrorCorrelation()).probabilities
    assert (CORRELATED.between("a", "b"), CORRELATED.between("b", "a"), CORRELATED.between("a", "c")) == (1.0, 1.0, 0.0)


def test_evidence_and_vote_coefficient_move_the_odds_by_as_much_as_they_say() -> None:
    votes = [Vote("a", 0.6, 0), Vote("b", 0.7, 1)]
    plain, with_evidence = infer(votes, ErrorCorrelation()), infer(votes, ErrorCorrelation(), [1.0])
    none_right, none_right_with_evidence = 1 - sum(plain.probabilities), 1 - sum(with_evidence.probabilities)
    assert with_evidence.probabilities[0] / none_right_with_evidence == pytest.approx(2.718281828 * plain.probabilities[0] / none_right)
    assert with_evidence.probabilities[1] / none_right_with_evidence == pytest.approx(plain.probabilities[1] / none_right)
    half = infer(votes, ErrorCorrelation(), vote_coefficient=0.5)
    # Half way from the odds of the prior to those of the votes.
    assert half.probabilities[0] / (1 - sum(half.probabilities)) == pytest.approx(
        (0.6 / 0.4 * plain.probabilities[0] / none_right) ** 0.5
    )
    assert infer([Vote("a", 0.6, 0)], ErrorCorrelation(), vote_coefficient=0.3).probabilities[0] == pytest.approx(0.6, abs=0.01)


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
def test_updated_priors_are_probabilities_and_keep_their_order(
    votes: list[Vote], priors: list[float], correlation: ErrorCorrelation
) -> None:
    later = updated_priors(infer(votes, correlation), sorted(priors), correlation)
    assert all(0 <= p <= 1 for p in later)
    assert all(b >= a - 1e-9 for a, b in pairwise(later))


def test_an_easy_looking_query_raises_the_updated_priors_and_a_hard_one_lowers_them() -> None:
    easy = infer([Vote(m, 0.6, 0) for m in "abc"], ErrorCorrelation())
    hard = infer([Vote(m, 0.6, i) for i, m in enumerate("abc")], ErrorCorrelation())
    assert updated_priors(hard, [0.6], ErrorCorrelation())[0] < 0.6 < updated_priors(easy, [0.6], ErrorCorrelation())[0]


def test_without_votes_priors_stand() -> None:
    for closed in (True, False):
        nothing = infer([], ErrorCorrelation(), closed=closed)
        assert (nothing.leader, nothing.leader_probability, nothing.probabilities) == (None, 0.0, ())
        assert updated_priors(nothing, [0.6], ErrorCorrelation())[0] == pytest.approx(0.6, abs=0.03)
        assert expected_gains(nothing, [], ErrorCorrelation()) == []
        assert expected_gains(nothing, [0.6], ErrorCorrelation())[0] == pytest.approx(0.6, abs=0.03)


def test_the_earlier_of_equals_leads() -> None:
    assert Posterior(((0.2,), (0.4,), (0.4,)), (0.4, 0.4)).leader == 0
    assert Posterior(((0.2,), (0.3,), (0.5,)), (0.3, 0.5)).leader == 1
