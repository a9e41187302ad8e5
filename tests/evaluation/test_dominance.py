"""A dominating model is named only where the evidence leaves a mixture nothing to gain."""

from __future__ import annotations

from random import Random

import pytest

from routemoa.core.types import Scores
from routemoa.evaluation.dominance import describe_dominance, find_dominating_model


def draw(shares: dict[str, float], questions: int, seed: int = 0) -> list[Scores]:
    """Scores of models that err independently of each other."""
    rng = Random(seed)
    return [{m: float(rng.random() < p) for m, p in shares.items()} for _ in range(questions)]


def nested(questions: int, **right: float) -> list[Scores]:
    """Scores of models of which each gets right what every worse one does: no other ever corrects the best."""
    return [{m: float(i < share * questions) for m, share in right.items()} for i in range(questions)]


def test_the_best_of_nested_models_dominates_and_the_figures_say_why() -> None:
    found = find_dominating_model(nested(200, strong=0.9, middling=0.6, weak=0.3), ["t"] * 200)
    assert found is not None
    assert (found.model, found.runner_up, found.questions) == ("strong", "middling", 200)
    assert found.lead.mean == pytest.approx(0.3)
    assert 0 < found.lead.low < 0.3 < found.lead.high
    assert (found.wrong, found.runner_up_right, found.correctable, found.outvoted) == (20, 0, 0, 60)
    said = describe_dominance(found)
    assert "a mixture will not help here: use `single:strong`" in said
    assert "On 200 questions it is right on 90.0 %, the next best, middling, on 60.0 % (+30.0 points, 95 %" in said
    assert "of its 20 wrong answers middling has 0 right" in said
    assert "could correct 0 (0.0 %, 95 % 0.0 to 1.9) and spoil up to 60 right ones" in said


@pytest.mark.parametrize(
    ("scores", "why"),
    [
        (nested(40, strong=0.9, weak=0.3), "few questions"),
        (draw({"a": 0.8, "b": 0.8, "c": 0.8}, 200), "no best model"),
        (draw({"a": 0.75, "b": 0.6, "c": 0.6, "d": 0.6}, 400), "the others could outvote it"),
        (nested(200, only=0.9), "one model"),
        ([], "nothing"),
        ([{"a": None, "b": None}] * 100, "nothing graded"),
    ],
)
def test_without_enough_evidence_none_is_named(scores: list[Scores], why: str) -> None:
    assert find_dominating_model(scores, ["t"] * len(scores)) is None, why


def test_a_model_that_is_better_at_one_task_makes_a_mixture_worthwhile() -> None:
    sums = nested(200, strong=0.9, weak=0.3)
    letters = nested(60, weak=0.9, strong=0.5)
    assert find_dominating_model(sums, ["sums"] * 200) is not None
    assert find_dominating_model(sums + letters, ["sums"] * 200 + ["letters"] * 60) is None


def test_a_run_of_the_mixture_decides_by_what_it_gained() -> None:
    scores = draw({"a": 0.8, "b": 0.6, "c": 0.6, "d": 0.6}, 400)
    tasks, best = ["t"] * 400, [row["a"] for row in scores]
    same = find_dominating_model(scores, tasks, best)
    assert same is not None
    assert same.mixture is not None
    assert same.mixture.high == 0
    assert "the mixture differs from it by +0.0 points" in describe_dominance(same)
    better = [max(s or 0.0, float(i % 20 == 0)) for i, s in enumerate(best)]
    assert find_dominating_model(scores, tasks, better) is None
    uncertain = [float(Random(i).random() < 0.8) for i in range(400)]  # as good, but as it happens
    assert find_dominating_model(scores, tasks, uncertain) is None


def test_unknown_scores_are_left_out_and_never_zero() -> None:
    scores = nested(200, strong=0.9, weak=0.3)
    holes: list[Scores] = [{**row, "weak": None} if i % 4 == 0 else row for i, row in enumerate(scores)]
    found = find_dominating_model(holes, ["t"] * 200)
    assert found is not None
    assert found.questions == 150
    rare: list[Scores] = [{**row, "rare": 0.0 if i < 10 else None} for i, row in enumerate(scores)]
    assert find_dominating_model(rare, ["t"] * 200) is None  # of it too little is known
