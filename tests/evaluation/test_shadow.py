"""New priors are better only where held-out outcomes show it."""

from __future__ import annotations

from random import Random

from routemoa.core.types import Scores
from routemoa.datasets.records import Record
from routemoa.evaluation.shadow import MIN_COMPARED, Choice, HeldOut, compare_priors

A: Scores = {"a": 0.8, "b": 0.6}
B: Scores = {"a": 0.4, "b": 0.6}
"""Priors that choose a, and b."""


def held_out(
    count: int,
    scores: dict[str, float | None],
    before: Scores = A,
    after: Scores = B,
    **costs: float,
) -> list[HeldOut]:
    return [HeldOut(Record(str(i), "t", "q", scores, costs=dict(costs) or None), before, after) for i in range(count)]


def test_a_choice_that_is_right_more_often_is_better() -> None:
    result = compare_priors(held_out(30, {"a": 0.0, "b": 1.0}) + held_out(30, {"a": 1.0, "b": 1.0}))
    assert (result.gain, result.compared, result.telling) == ("accuracy", 60, 30)
    assert result.accuracy is not None
    assert result.accuracy.low > 0
    worse = compare_priors(held_out(30, {"a": 1.0, "b": 0.0}) + held_out(30, {"a": 1.0, "b": 1.0}))
    assert worse.gain is None
    few = compare_priors(held_out(4, {"a": 0.0, "b": 1.0})).accuracy
    assert few is not None
    assert (few.mean, few.high, round(few.low, 2)) == (1.0, 1.0, 0.51), "four of four are not certain"


def test_a_difference_that_may_be_chance_is_not_taken_over() -> None:
    draw = Random(5)
    coins = [held_out(1, {"a": float(draw.random() < 0.5), "b": float(draw.random() < 0.5)})[0] for _ in range(200)]
    assert compare_priors(coins).gain is None


def test_the_same_accuracy_for_less_is_better() -> None:
    equal = held_out(40, {"a": 1.0, "b": 1.0, "c": 0.0}, a=0.02, b=0.01)
    assert compare_priors(equal).gain == "cost"
    assert compare_priors(held_out(40, {"a": 1.0, "b": 1.0, "c": 0.0}, a=0.01, b=0.02)).gain is None
    assert compare_priors(held_out(40, {"a": 1.0, "b": 1.0, "c": 0.0}, a=0.01)).gain is None, "a price is unknown"


def test_thumbs_of_one_member_compare_predictions() -> None:
    fallen = held_out(MIN_COMPARED, {"a": 0.0, "b": None})
    assert compare_priors(fallen).gain == "prediction"
    assert compare_priors(fallen[:-1]).gain is None, "too few"
    assert compare_priors(held_out(40, {"a": 1.0})).gain is None
    assert compare_priors(held_out(40, {"a": None})).prediction is None


def test_better_predictions_are_enough_only_where_the_choice_is_no_worse() -> None:
    same = held_out(40, {"a": 1.0, "b": 0.0}, A, {"a": 0.9, "b": 0.2})
    assert compare_priors(same).gain == "prediction"
    worse = held_out(5, {"a": 1.0, "b": 0.9}, A, {"a": 0.9, "b": 0.95})
    result = compare_priors([*same, *worse])
    assert result.prediction is not None
    assert result.prediction.low > 0
    assert result.gain is None


def test_the_answer_of_the_whole_mixture_goes_before_the_best_prior() -> None:
    scores: Scores = {"a": 0.0, "b": 1.0}
    record, old, new = Record("0", "t", "q", scores, costs={"a": 1.0, "b": 1.0}), Choice("b", 0.02), Choice("b", 0.01)
    assert compare_priors([HeldOut(record, A, B, None, (old, new))] * 40).gain == "cost"
    worse = compare_priors([HeldOut(record, A, B, None, (old, Choice("a", 0.01)))] * 40)
    assert worse.accuracy is not None
    assert (worse.accuracy.mean, worse.gain) == (-1.0, None), "though predictions and the best prior are better"
    unknown = compare_priors([HeldOut(record, A, B, None, (None, new))] * 40)
    assert (unknown.compared, unknown.accuracy) == (0, None)


def test_nothing_held_out_is_nothing_better() -> None:
    assert compare_priors([]).gain is None
