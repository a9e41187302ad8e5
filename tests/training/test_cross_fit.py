"""What is learned is compared on outcomes that did not teach it, and not across a change."""

from __future__ import annotations

from random import Random

import pytest

from routemoa.core.learned.learned_priors import LearnedPriors
from routemoa.core.tables.learning_table import LATEST_OUTCOMES
from routemoa.core.types import Scores
from routemoa.training.cross_fit import Lesson, cross_fit, predict_lifted, select_lessons

PRIOR: Scores = {"a": 0.8, "b": 0.6}


def lessons(count: int, rates: dict[str, float], start: int = 0) -> list[Lesson]:
    draw = Random(start)
    return [
        Lesson(float(start + i), PRIOR, {m: float(draw.random() < rate) for m, rate in rates.items()})
        for i in range(count)
    ]


def test_an_outcome_is_predicted_by_the_others_alone() -> None:
    taught = lessons(100, {"a": 0.3, "b": 0.8})
    fit = cross_fit(taught)
    odd = 7
    flipped = [*taught]
    flipped[odd] = Lesson(taught[odd].at, PRIOR, {m: 1.0 - (s or 0.0) for m, s in taught[odd].scores.items()})
    assert cross_fit(flipped).after[odd] == fit.after[odd], "its own scores say nothing of it"
    assert cross_fit(flipped).after[odd + 1] != fit.after[odd + 1]


def test_what_holds_for_all_members_is_no_gain() -> None:
    taught = lessons(200, {"a": 0.7, "b": 0.5})
    before, after = predict_lifted(taught, LearnedPriors())[0], cross_fit(taught).after[0]
    assert abs((before["a"] or 0.0) - (after["a"] or 0.0)) < 0.05, "hard traffic lowers both sides alike"


def test_of_a_member_that_changed_only_what_came_after_teaches() -> None:
    taught = [*lessons(50, {"a": 0.8, "b": 0.6}), *lessons(50, {"a": 0.4, "b": 0.6}, 50)]
    kept, places = select_lessons(taught, {"a": 50.0})
    assert len(kept) == 100
    assert all("a" not in each.scores for each in kept[:50])
    assert all("b" in each.scores for each in kept)
    assert places == list(range(50, 100))
    assert select_lessons(taught, {}) == (taught, list(range(100)))
    assert len(select_lessons(taught * 30, {})[0]) == LATEST_OUTCOMES


def test_what_is_learned_of_members_without_priors_is_compared_with_what_the_ranking_takes_them_for() -> None:
    right = [Lesson(float(i), {"a": None, "b": None}, {"a": float(i % 10 > 0)}) for i in range(200)]
    fit, before = cross_fit(right), predict_lifted(right, LearnedPriors())
    assert before[0]["a"] == pytest.approx(0.6, abs=0.1), "about 0.5, lifted for all alike"
    assert fit.after[0]["a"] == pytest.approx(0.9, abs=0.02)
    assert fit.after[0]["b"] is None
