"""Members are told from the queries that they were asked; the few and the alike stay near the mean."""

from __future__ import annotations

import math
from random import Random

import pytest

from routemoa.training.unknown_members import GradedAnswer, fit_unknown

NOISE = 0.1
ABILITY = 1.5
"""Of every member, in log-odds, on a query of middling difficulty."""


def answer(draw: Random, easy: float) -> float:
    """Return the score of an answer to a query that is so easy, in log-odds; a tenth of scores are wrong."""
    is_right = draw.random() < 1.0 / (1.0 + math.exp(-ABILITY - easy))
    return float(is_right != (draw.random() < NOISE))


def test_a_member_that_is_asked_where_others_fail_is_not_taken_to_be_worse() -> None:
    draw, answers, last = Random(2), list[GradedAnswer](), list[float]()
    for query in range(600):
        easy = draw.gauss(0.0, 2.0)
        first, second = answer(draw, easy), answer(draw, easy)
        answers += [GradedAnswer(query, "first", first, None), GradedAnswer(query, "second", second, None)]
        if min(first, second) == 0.0:
            last.append(answer(draw, easy))
            answers.append(GradedAnswer(query, "last", last[-1], None))
    learned = fit_unknown(answers, NOISE)
    assert sum(last) / len(last) < 0.6, "what is said of it, on hard queries"
    assert learned["last"] == pytest.approx(learned["first"], abs=0.08)
    assert learned["first"] == pytest.approx(0.72, abs=0.05)


def test_few_outcomes_leave_a_member_near_the_others() -> None:
    many = [GradedAnswer(i, m, float(i % 10 < rate), None) for i in range(100) for m, rate in (("a", 8), ("b", 7))]
    learned = fit_unknown([*many, GradedAnswer(0, "new", 0.0, None)], NOISE)
    assert learned["a"] > learned["b"]
    assert learned["new"] == pytest.approx((learned["a"] + learned["b"]) / 2, abs=0.05)


def test_known_members_say_how_hard_a_query_was() -> None:
    hard = [a for i in range(100) for a in (GradedAnswer(i, "known", 0.0, 0.8), GradedAnswer(i, "new", i % 2, None))]
    easy = [a for i in range(100) for a in (GradedAnswer(i, "known", 1.0, 0.8), GradedAnswer(i, "new", i % 2, None))]
    assert fit_unknown(hard, NOISE)["new"] > fit_unknown(easy, NOISE)["new"]
    assert "known" not in fit_unknown(hard, NOISE)


@pytest.mark.parametrize("score", [0.0, 0.5, 1.0])
def test_extreme_scores_give_a_prior_inside_the_range(score: float) -> None:
    assert 0.0 < fit_unknown([GradedAnswer(i, "a", score, None) for i in range(300)], NOISE)["a"] < 1.0
    assert fit_unknown([GradedAnswer(0, "a", score, 0.5)], NOISE) == {}
