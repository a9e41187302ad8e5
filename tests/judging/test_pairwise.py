"""Verdicts on pairs, and the knock-out that weighs them against the priors."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.core.trace import Proposal
from routemoa.core.usage import Usage
from routemoa.judging.judge_model import PairwiseJudge
from routemoa.judging.pairwise import (
    AnswerSelection,
    Contestant,
    KnockOut,
    Verdict,
    combine_orders,
    parse_verdict,
)


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("A is better. [[A]]", "first"),
        ("[[a]] no, rather [[B]]", "second"),
        ("Equal. [[C]]", "tie"),
        ("[[Tie]]", "tie"),
        (" **B** ", "second"),
        ("A and B are both fine", None),
        ("", None),
    ],
)
def test_what_a_reply_prefers(reply: str, verdict: Verdict | None) -> None:
    assert parse_verdict(reply) == verdict


def test_only_orders_that_agree_count() -> None:
    assert combine_orders("first", "second") == "first"
    assert combine_orders("second", "first") == "second"
    assert combine_orders("first", "first") == "tie"  # the place won, not the answer
    assert combine_orders("tie", "tie") == "tie"
    assert combine_orders("tie", "first") == "tie"
    assert combine_orders(None, "first") is None


def play(answers: list[Contestant], judge: PairwiseJudge, verdict: Verdict | None) -> KnockOut:
    knockout = KnockOut(answers, judge)
    while (pair := knockout.next_pair()) is not None:
        knockout.record(pair, verdict)
    return knockout


def even(count: int, length: int = 100) -> list[Contestant]:
    return [Contestant(0.5, length) for _ in range(count)]


def test_without_a_verdict_the_best_prior_stands() -> None:
    answers = [Contestant(0.6, 100), Contestant(0.5, 100), Contestant(None, 100)]
    for verdict in (None, "tie"):
        assert play(answers, PairwiseJudge(), verdict).champion == 0


def test_a_judge_decides_between_equals() -> None:
    assert play(even(2), PairwiseJudge(0.7), "second").champion == 1
    assert play(even(2), PairwiseJudge(0.7), "first").champion == 0


def test_a_weak_judge_is_not_even_asked_against_a_strong_prior() -> None:
    answers = [Contestant(0.8, 100), Contestant(0.6, 100)]
    assert KnockOut(answers, PairwiseJudge(0.6)).next_pair() is None
    assert KnockOut(answers, PairwiseJudge(0.97)).next_pair() == (0, 1)


def test_length_is_no_merit() -> None:
    answers = [Contestant(0.52, 500), Contestant(0.5, 2000)]
    assert play(answers, PairwiseJudge(0.7), "second").champion == 1
    assert play(answers, PairwiseJudge(0.7, length=3.0), "second").champion == 0
    shorter = [Contestant(0.52, 2000), Contestant(0.5, 500)]
    assert play(shorter, PairwiseJudge(0.7, length=3.0), "second").champion == 1


@given(st.lists(st.floats(0.05, 0.95), min_size=1, max_size=6), st.floats(0.5, 0.97), st.integers(0, 1000))
def test_no_pair_is_compared_twice_and_it_ends(priors: list[float], accuracy: float, seed: int) -> None:
    knockout = KnockOut([Contestant(p, 100) for p in sorted(priors, reverse=True)], PairwiseJudge(accuracy))
    lots, pairs = Random(seed), list[tuple[int, int]]()
    while (pair := knockout.next_pair()) is not None:
        pairs.append(pair)
        knockout.record(pair, lots.choice(["first", "second", "tie"]))
    assert len({frozenset(p) for p in pairs}) == len(pairs)


@given(st.lists(st.floats(0.05, 0.95), min_size=1, max_size=6), st.floats(0.0, 0.5), st.floats(-3.0, 3.0))
def test_a_judge_no_better_than_a_coin_is_never_asked(priors: list[float], accuracy: float, length: float) -> None:
    answers = [Contestant(p, 100 * (i + 1)) for i, p in enumerate(sorted(priors, reverse=True))]
    assert KnockOut(answers, PairwiseJudge(accuracy, length)).next_pair() is None


def test_all_pairs_are_asked_where_each_could_decide() -> None:
    """(0, 1) leaves a tie; 2 beats 0, and then 1 could still displace it."""
    knockout, pairs = KnockOut(even(3), PairwiseJudge(0.75)), list[tuple[int, int]]()
    verdicts: list[Verdict] = ["tie", "second", "first"]
    for verdict in verdicts:
        pair = knockout.next_pair()
        assert pair is not None
        pairs.append(pair)
        knockout.record(pair, verdict)
    assert (pairs, knockout.champion) == ([(0, 1), (0, 2), (2, 1)], 2)
    assert knockout.next_pair() is None


def test_a_fair_judge_gains_and_more_so_the_better_it_is() -> None:
    """Answers good with their prior, a judge right with its accuracy where one is better: the share of good choices."""
    lots = Random(5)

    def share_good(accuracy: float) -> float:
        wins = 0
        for _ in range(1500):
            priors = [0.6, 0.55, 0.5]
            good = [lots.random() < p for p in priors]
            knockout = KnockOut([Contestant(p, 100) for p in priors], PairwiseJudge(accuracy, difficulty_sd=0.0))
            while (pair := knockout.next_pair()) is not None:
                first, second = pair
                better = good[first] - good[second] or lots.choice([1, -1])
                right = lots.random() < accuracy or good[first] == good[second]
                knockout.record(pair, "first" if (better > 0) == right else "second")
            wins += good[knockout.champion]
        return wins / 1500

    assert 0.62 < share_good(0.7) < share_good(0.9)


def answer(model: str, text: str = "A long walk by the sea.") -> Proposal:
    return Proposal(model, text, Usage(), None, None)


def test_a_selection_gives_pairs_until_no_verdict_could_change_the_winner() -> None:
    answers = [answer("a"), answer("b"), answer("c")]
    selection = AnswerSelection("judge", answers, {"a": 0.5, "b": 0.5, "c": 0.5}, PairwiseJudge(0.8))
    comparisons = [selection.record("second", "first") for _ in selection]
    assert [(c.answers, c.winner) for c in comparisons] == [(("a", "b"), "b"), (("b", "c"), "c")]
    assert comparisons[0].verdicts == ("second", "first")
    assert {c.judge for c in comparisons} == {"judge"}
    assert [a.model for a in selection.answers] == ["c", "a", "b"]


def test_a_selection_without_a_pair_keeps_its_order_and_records_nothing() -> None:
    selection = AnswerSelection("judge", [answer("a"), answer("b")], {"a": 0.9, "b": 0.2}, PairwiseJudge(0.6))
    assert list(selection) == []
    assert [a.model for a in selection.answers] == ["a", "b"]
    with pytest.raises(ValueError, match="no pair"):
        selection.record("first", "second")
