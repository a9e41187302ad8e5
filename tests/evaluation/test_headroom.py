"""1 - beta and its exact interval, the share of the gap that is closed, and the sentence where no router helps."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.core.types import Scores
from routemoa.evaluation.headroom import clopper_pearson, describe_no_gain, format_headroom, measure_headroom

MODELS = [f"m{i}" for i in range(8)]
CHOICE = "Which one?\nA) this\nB) that\nC) those"


def make(rates: list[float], n: int = 400, seed: int = 0) -> list[Scores]:
    rng = np.random.default_rng(seed)
    return [{m: float(rng.random() < r) for m, r in zip(MODELS, rates, strict=False)} for _ in range(n)]


@given(st.integers(1, 60), st.data())
def test_the_interval_is_exact(n: int, data: st.DataObject) -> None:
    """At its ends the observed count, or one more extreme, has the probability 2.5 %."""
    right = data.draw(st.integers(0, n))
    low, high = clopper_pearson(right, n)

    def at_most(k: int, p: float) -> float:
        return sum(comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))

    assert low <= right / n <= high
    assert (low == 0.0) if right == 0 else 1 - at_most(right - 1, low) == pytest.approx(0.025, abs=1e-6)
    assert (high == 1.0) if right == n else at_most(right, high) == pytest.approx(0.025, abs=1e-6)


def test_the_interval_is_that_of_the_tables() -> None:
    """Clopper and Pearson's own example (10 of 20), and the rule of three."""
    assert clopper_pearson(10, 20) == pytest.approx((0.2720, 0.7280), abs=1e-4)
    assert clopper_pearson(0, 100)[1] == pytest.approx(0.0362, abs=1e-4)


def test_beta_counts_what_all_models_get_wrong() -> None:
    scores: list[Scores] = [{"m0": 0.0, "m1": 0.0}, {"m0": 1.0, "m1": None}, {"m0": 0.0, "m1": 1.0}, {"m1": 1.0}]
    found = measure_headroom(scores, [""] * 4, ["m0", "m1"], {"best": [0.0, 1.0, 1.0, 1.0]})
    assert found is not None
    assert (found.questions, found.all_wrong) == (3, 1), "the best single model was not measured on the fourth"
    assert found.ceiling == pytest.approx(2 / 3)
    assert found.gap_closed["best"][0] == pytest.approx(1.0)
    assert found.gains["best"].mean == pytest.approx(1 / 3)


def test_in_multiple_choice_the_best_five_count() -> None:
    """Sixth and later models are right by luck."""
    scores: list[Scores] = [{m: float(i == 6) for i, m in enumerate(MODELS)} for _ in range(60)]
    asked = measure_headroom(scores, [CHOICE] * 60, MODELS, {})
    freely = measure_headroom(scores, ["How many?"] * 60, MODELS, {})
    assert asked is not None
    assert freely is not None
    assert (asked.ceiling, asked.multiple_choice) == (0.0, 60)
    assert (freely.ceiling, freely.multiple_choice) == (1.0, 0)


def test_it_says_where_no_router_can_help() -> None:
    """Others are right where the best single model is wrong on 3 of 2,000 questions: at most .44 %."""
    row = [float(i % 5 > 0) for i in range(2000)]
    scores: list[Scores] = [{"m0": s, "m1": float(i in {0, 5, 10})} for i, s in enumerate(row)]
    found = measure_headroom(scores, [""] * 2000, ["m0", "m1"], {"scorer": row})
    assert found is not None
    assert found.only_others == 3
    assert (describe_no_gain(found) or "").startswith("no router can help here: use m0 alone (80.0 % right)")


def test_models_that_were_not_measured_are_no_proof_that_no_router_can_help() -> None:
    row = [float(i % 5 > 0) for i in range(2000)]
    scores: list[Scores] = [{"m0": s, "m1": 0.0 if i % 50 == 0 else None} for i, s in enumerate(row)]
    found = measure_headroom(scores, [""] * 2000, ["m0", "m1"], {})
    assert found is not None
    assert (found.only_others, found.undecided) == (0, 360)
    assert describe_no_gain(found) is None


def test_it_says_where_no_router_that_was_tried_helps() -> None:
    scores = make([0.7, 0.69, 0.68])
    single = [s["m0"] for s in scores]
    idle = measure_headroom(scores, [""] * 400, MODELS[:3], {"scorer": single, "knn": single})
    assert idle is not None
    assert (describe_no_gain(idle) or "").startswith("no router helps here: of scorer, knn the best, scorer,")
    able = measure_headroom(
        scores, [""] * 400, MODELS[:3], {"scorer": single, "knn": [max(v or 0 for v in s.values()) for s in scores]}
    )
    assert able is not None
    assert describe_no_gain(able) is None
    assert able.gap_closed["knn"][0] == pytest.approx(1.0)
    low, high = able.gap_closed["scorer"][1:]
    assert low == high == 0.0


def test_a_mixture_is_no_router() -> None:
    scores = make([0.7, 0.69, 0.68])
    single, every = [s["m0"] for s in scores], [max(v or 0 for v in s.values()) for s in scores]
    found = measure_headroom(
        scores, [""] * 400, MODELS[:3], {"scorer": single, "routemoa": every}, mixtures=("routemoa",)
    )
    figures = format_headroom(found)
    assert figures is not None
    assert "of scorer the best" in figures["no_router_helps"]
    assert set(figures["gap_closed"]) == {"scorer", "routemoa"}
    assert figures["gap_closed"]["routemoa"]["share"] == pytest.approx(1.0)


def test_few_questions_conclude_nothing() -> None:
    scores: list[Scores] = [{"m0": 1.0, "m1": 1.0}] * 20
    found = measure_headroom(scores, [""] * 20, ["m0", "m1"], {"scorer": [1.0] * 20})
    assert found is not None
    assert describe_no_gain(found) is None
    assert found.gap_closed == {}, "there is no gap"
    assert measure_headroom([{"m0": None}], [""], ["m0"], {}) is None
    better: list[Scores] = [{"m0": 0.0, "m1": 1.0}] * 4
    figures = format_headroom(measure_headroom(better, [""] * 4, ["m0", "m1"], {"scorer": [1.0] * 4}))
    assert figures is not None
    assert (
        figures["gains"]["scorer"]["ci95"]
        == figures["gap_closed"]["scorer"]["ci95"]
        == [pytest.approx(0.51, abs=0.001), 1.0]
    )
    assert format_headroom(None) is None
