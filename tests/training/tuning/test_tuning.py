"""Tuning on real records of small models, and on made-up ones whose best policy is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from routemoa.core.errors import ConfigError
from routemoa.core.learned.cost_dial import Dial
from routemoa.core.learned.tuned_policy import (
    TunedGroup,
    TunedPlan,
    TunedPoint,
    TunedPolicy,
    encode_tuned_policy,
    load_tuned_policy,
)
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.types import ModelSpec, Scores
from routemoa.datasets.records import Record, read_records
from routemoa.evaluation.replay.simulator import simulate
from routemoa.evaluation.replay.token_counts import ReplayQuestion
from routemoa.judging.judge_model import JudgeModel
from routemoa.routing.policy import build_policy
from routemoa.training.tuning.curve import find_curve
from routemoa.training.tuning.plans import TuningData, list_plans, run_plan
from routemoa.training.tuning.policy import build_policy_file
from routemoa.training.tuning.preparation import prepare, price_by_tokens

GROWTH = Path("benchmarks/results/local_growth.records.jsonl.gz")
"""Five ways to ask one small model 200 questions of GSM8K: real answers, equal in accuracy."""
COSTS = {"story": 1.0, "class": 2.0, "lines": 3.0, "eggs": 7.0, "plan": 20.0}


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return [replace(r, costs=dict(COSTS)) for r in read_records(GROWTH)]


def known_data(n: int = 900, seed: int = 0, *, answers: bool = True) -> TuningData:
    """Easy queries, which cheap models answer as well as the dear one, and difficult ones, where they differ.

    `mini` and `nano` err independently, so that equal answers of both are nearly always right.
    """
    rng = np.random.default_rng(seed)
    easy = rng.random(n) < 0.5
    rates = np.where(easy[:, None], [[0.95, 0.95, 0.96]], [[0.6, 0.6, 0.95]])
    right = rng.random((n, 3)) < rates
    groups = np.where(right, 0, 1 + np.arange(3)[None])
    estimates = rates + rng.normal(0, 0.01, rates.shape)
    costs = np.tile(np.array([[0.05, 0.06, 1.0]], np.float32), (n, 1))
    return TuningData(
        ("mini", "nano", "dear"),
        right.astype(np.float32),
        costs,
        groups if answers else None,
        estimates.astype(np.float32),
    )


def test_a_replay_of_the_policy_does_what_tuning_counted(records: list[Record]) -> None:
    """The live policy, simulated question by question, against the arrays: the same answer and the same calls."""
    prepared = prepare(records)
    estimates = np.random.default_rng(0).random((len(records), 5)).astype(np.float32)
    data = prepared.tuning_data(estimates)
    specs = [ModelSpec(m, "local", m) for m in data.models]
    plans = [p for p in list_plans(data) if p.rate is None or p.rate in (0.0, 10.0)]
    assert len(plans) > 20
    for plan in plans[::3]:
        tuned = TunedPolicy(
            best_single=data.models[data.best_single],
            dial=Dial(quality=1.0),
            costs=dict(zip(data.models, data.costs.mean(0).tolist(), strict=True)),
            group=(TunedGroup(center={}),),
            plan=(plan,),
            point=(TunedPoint(cost=1.0, quality=1.0, plans=(0,)),),
        )
        mixture = Mixture(policy="p", tuned=tuned)
        policy = build_policy(specs, mixture, JudgeModel(), ())
        scores, costs = run_plan(plan, data, data.costs.mean(0))
        same_score, same_cost = [], []
        for i, record in enumerate(records):
            prior: Scores = dict(zip(data.models, estimates[i].tolist(), strict=True))
            run = simulate(policy, prior, ReplayQuestion(record, data.models), mixture)
            choice = run.decision.choice
            assert choice is not None
            same_score.append(record.scores[choice] == scores[i])
            same_cost.append(run.totals.cost == pytest.approx(float(costs[i]) * prepared.dollars, rel=1e-4))
        assert np.mean(same_cost) > 0.97, plan  # answers with two readings are read by all answers there are
        assert np.mean(same_score) > 0.97, plan


def test_cheap_models_are_asked_first_where_they_suffice() -> None:
    data = known_data()
    curve = find_curve(data, Dial(quality=0.99))
    reached = curve.mix(Dial(quality=0.99)).average(curve.hull)
    assert len(curve.grouping.centers) >= 2
    assert reached.quality == pytest.approx(0.99, abs=0.005)
    assert reached.cost < 0.45
    alone = find_curve(known_data(answers=False), Dial(quality=0.99))
    assert alone.mix(Dial(quality=0.99)).average(alone.hull).cost > reached.cost, "agreement saves calls"
    again = find_curve(known_data(seed=1), Dial(quality=0.99))
    fresh = _measure(curve, known_data(seed=7), Dial(quality=0.99))
    assert fresh[0] == pytest.approx(0.99, abs=0.025)
    assert fresh[1] == pytest.approx(reached.cost, abs=0.06)
    assert again.hull[-1].quality >= 1.0


def _measure(curve, data: TuningData, dial: Dial) -> tuple[float, float]:  # type: ignore[no-untyped-def]
    """What a curve's mix reaches on other questions, as shares of the same model's."""
    mix, groups = curve.mix(dial), curve.grouping.find_groups(data.estimates, len(data.scores))
    score = cost = 0.0
    for place, share in ((mix.low, 1 - mix.share), (mix.high, mix.share)):
        for group, plan in enumerate(curve.hull[place].plans):
            right, spent = run_plan(curve.plans[plan], data, data.costs.mean(0))
            score += share * float(right[groups == group].sum())
            cost += share * float(spent[groups == group].sum())
    return score / float(data.scores[:, 2].sum()), cost / float(data.costs[:, 2].sum())


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000))
def test_the_curve_keeps_its_laws(seed: int) -> None:
    curve = find_curve(known_data(250, seed), Dial(quality=0.97), seed)
    costs, qualities = [p.cost for p in curve.hull], [p.quality for p in curve.hull]
    assert costs == sorted(costs)
    assert qualities == sorted(qualities)
    assert qualities[-1] >= 1.0, "the best single model alone is a point"
    low, high = curve.measure_interval(curve.mix(Dial(quality=0.97)))
    assert low[0] <= low[1]
    assert high[0] <= 0.97 <= high[1] + 0.05


def test_nothing_is_won_where_scores_are_shuffled() -> None:
    """Each question's scores go to random models: no plan of cheap ones beats the price of accuracy."""
    rng = np.random.default_rng(3)
    data = known_data(600)
    order = np.argsort(rng.random(data.scores.shape), axis=1)
    shuffled = TuningData(
        data.models,
        np.take_along_axis(data.scores, order, axis=1),
        np.ones_like(data.costs),
        rng.integers(0, 3, data.scores.shape),
        rng.random(data.scores.shape).astype(np.float32),
    )
    curve = find_curve(shuffled, Dial(quality=1.0))
    assert curve.mix(Dial(quality=1.0)).average(curve.hull).cost == pytest.approx(1.0, abs=0.06)


def test_the_file_says_the_same_as_the_curve(tmp_path: Path) -> None:
    data, dial = known_data(), Dial(quality=0.98)
    curve = find_curve(data, dial)
    policy = build_policy_file(curve, data, ("easy",) * len(data.scores), dial, "made up")
    path = tmp_path / "policy.toml"
    path.write_text(encode_tuned_policy(policy, "a test"))
    read = load_tuned_policy(path, data.models, "pool.toml")
    assert read.mix.average(read.point).cost == pytest.approx(curve.mix(dial).average(curve.hull).cost, abs=1e-4)
    groups = curve.grouping.find_groups(data.estimates, len(data.scores))
    assert data.estimates is not None
    for i in range(0, len(data.scores), 17):
        estimates = dict(zip(data.models, data.estimates[i].tolist(), strict=True))
        place = curve.hull[read.mix.high].plans[groups[i]]
        assert str(read.choose_plan(estimates, draw=-1.0)) == str(curve.plans[place])


def test_records_that_cannot_be_used_are_explained(records: list[Record]) -> None:
    with pytest.raises(ConfigError, match="no costs; name the pool with --pool"):
        prepare([replace(r, costs=None) for r in records])
    with pytest.raises(ConfigError, match="100 questions"):
        prepare(records[:50])
    with pytest.raises(ConfigError, match="costs nothing"):
        prepare([replace(r, costs=dict.fromkeys(COSTS, 0.0)) for r in records])
    said: list[str] = []
    holes = [replace(r, scores={**r.scores, "plan": None if i % 2 else 1.0}) for i, r in enumerate(records)]
    assert "plan" not in prepare(holes, report=said.append).table.models
    assert "plan" in said[0]


def test_prices_of_a_pool_stand_in_for_costs(records: list[Record]) -> None:
    specs = [
        ModelSpec("cheap", "local", "story", input_price=1.0, output_price=2.0),
        ModelSpec("plan", "local", "other", input_price=10.0, output_price=20.0),
    ]
    priced = price_by_tokens([replace(r, costs=None) for r in records], specs)
    first, costs = records[0], priced[0].costs
    assert set(priced[0].scores) == {"cheap", "plan"}
    assert costs is not None
    prompt, text = len(first.prompt or first.query) / 4, len((first.responses or {})["story"] or "") / 4
    assert costs["cheap"] == pytest.approx((prompt * 1.0 + text * 2.0) / 1e6)
    assert price_by_tokens(records, specs)[0].costs == {"cheap": 1.0, "plan": 20.0}, "what is recorded goes first"
    with pytest.raises(ConfigError, match="no answer of a model of this pool"):
        price_by_tokens(records, [ModelSpec("stranger", "local", "stranger")])


def test_an_order_of_plans_is_followed_as_it_is_told() -> None:
    """By hand: five questions, three cheap answers and the last one's."""
    groups = np.array([[0, 0, 1, 2], [0, 1, 1, 2], [0, 1, 2, 3], [-1, -1, 0, 1], [0, 0, 0, 1]])
    scores = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1], [1, 1, 1, 0]], np.float32)
    costs = np.tile(np.array([[1, 2, 4, 8]], np.float32), (5, 1))
    data = TuningData(tuple("abcd"), scores, costs, groups, None)

    def run(order: str, agree: int) -> tuple[list[float], list[float]]:
        right, spent = run_plan(TunedPlan(order=tuple(order), agree=agree), data, costs.mean(0))
        return right.tolist(), spent.tolist()

    assert run("abd", 2) == ([1, 0, 1, 1, 1], [3, 11, 11, 11, 3])
    assert run("abcd", 2) == ([1, 1, 1, 1, 1], [3, 7, 15, 11, 3])
    assert run("abcd", 3) == ([0, 0, 1, 1, 1], [15, 11, 11, 11, 7])
    assert run("c", 2) == ([0, 1, 0, 0, 1], [4, 4, 4, 4, 4])
