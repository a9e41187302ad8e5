"""How many questions a difference takes: McNemar's sample size, and what cannot be estimated."""

from __future__ import annotations

from random import Random

import pytest

from routemoa.evaluation.power import MAX_QUESTIONS, count_questions, estimate_sample_size


@pytest.mark.parametrize(("difference", "differing"), [(0.1, 0.3), (0.05, 0.15), (0.2, 0.2), (-0.1, 0.3)])
def test_so_many_questions_show_the_difference_four_times_in_five(difference: float, differing: float) -> None:
    """A simulation of McNemar's test, with as many questions as are said to be needed."""
    needed = count_questions(difference, differing)
    only_one = (differing + abs(difference)) / 2
    rng, shown = Random(1), 0
    for _ in range(400):
        draws = [rng.random() for _ in range(needed)]
        ours = sum(d < only_one for d in draws)
        theirs = sum(only_one <= d < differing for d in draws)
        shown += abs(ours - theirs) > 1.96 * (ours + theirs) ** 0.5
    assert shown / 400 > 0.74
    if abs(difference) < differing:
        assert shown / 400 < 0.86


def test_a_published_value() -> None:
    """Connor 1987: power 0.8, two-sided 0.05, discordant 0.3, difference 0.1: 234 pairs."""
    assert count_questions(0.1, 0.3) == 234


def test_the_estimate_counts_from_the_paired_differences() -> None:
    found = estimate_sample_size([1.0] * 12 + [-1.0] * 6 + [0.0] * 82)
    assert (found.asked, found.differing, found.why) == (100, 18, None)
    assert found.difference == pytest.approx(0.06)
    assert found.needed == count_questions(0.06, 0.18)
    assert found.more == found.needed - 100


@pytest.mark.parametrize(
    ("differences", "why"),
    [
        ([1.0, -1.0, 1.0] + [0.0] * 37, "their results differ on 3 of 40 questions only"),
        ([1.0, -1.0] * 10, "they are right on equally many questions"),
        ([1.0] * 5001 + [-1.0] * 5000, f"more than {MAX_QUESTIONS:,}"),
        ([0.0] * 30, "differ on 0 of 30"),
    ],
)
def test_where_it_cannot_be_estimated_it_says_why(differences: list[float], why: str) -> None:
    found = estimate_sample_size(differences)
    assert found.needed is None
    assert found.more is None
    assert why in str(found.why)
    assert found.needed_for_noticeable > 0


def test_shares_between_right_and_wrong_count_by_their_size() -> None:
    halves = estimate_sample_size([0.5] * 30 + [-0.5] * 15 + [0.0] * 55)
    wholes = estimate_sample_size([1.0] * 30 + [-1.0] * 15 + [0.0] * 55)
    assert halves.needed == wholes.needed
    assert halves.needed_for_noticeable < wholes.needed_for_noticeable
