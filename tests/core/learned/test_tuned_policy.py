"""The policy file: written and read back, and refused in one line where it does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
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
from routemoa.core.pool_file.pool import Pool

POLICY = TunedPolicy(
    best_single="dear",
    dial=Dial(quality=0.97),
    costs={"small": 0.05, "middle": 0.1, 'odd "name"\\': 0.2, "dear": 1.0},
    group=(
        TunedGroup(center={"small": 0.5, "dear": 0.9}, questions=60, mostly="sums 100 %"),
        TunedGroup(center={"small": 0.9, "dear": 0.95}, questions=40, mostly="words 98 %"),
    ),
    plan=(TunedPlan(order=("small",)), TunedPlan(order=("small", "middle", "dear")), TunedPlan(rate=0.125)),
    point=(
        TunedPoint(cost=0.05, quality=0.8, plans=(0, 0)),
        TunedPoint(cost=0.3, quality=0.95, plans=(1, 0)),
        TunedPoint(cost=1.0, quality=1.0, plans=(2, 1)),
    ),
    questions=100,
    source="records.jsonl",
)
NAMES = ("small", "middle", 'odd "name"\\', "dear")
POOL = "\n".join(
    f'[[model]]\nname = {name!r}\nendpoint = "http://127.0.0.1:1"\nprior = 0.5\n'
    for name in ("small", "middle", "dear")
)


def write(folder: Path, policy: TunedPolicy = POLICY, comment: str = "made by a test") -> Path:
    path = folder / "policy.toml"
    path.write_text(encode_tuned_policy(policy, comment), "utf-8")
    return path


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = write(tmp_path, comment='two\nlines "with" \\ marks')
    assert load_tuned_policy(path, NAMES, "pool.toml: [mixture]: policy") == POLICY
    turned = load_tuned_policy(path, NAMES, "p", Dial(cost=0.2))
    assert turned == replace(POLICY, dial=Dial(cost=0.2))
    assert turned.mix.average(turned.point).cost == pytest.approx(0.2)


def test_a_group_is_found_by_estimates() -> None:
    near_second = {"small": 0.88, "middle": 0.0, "dear": 0.9}
    assert POLICY.choose_plan(near_second, draw=0.0) == POLICY.plan[1]
    assert POLICY.choose_plan(near_second, draw=0.999) == POLICY.plan[0]
    assert POLICY.choose_plan({"small": 0.4, "dear": 0.8}, draw=0.0) == POLICY.plan[2]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"point": ()}, "missing key 'point'"),
        ({"point": POLICY.point[::-1]}, "from cheap to dear"),
        ({"point": (replace(POLICY.point[0], plans=(0,)),)}, "a plan for each group"),
        ({"point": (replace(POLICY.point[0], plans=(0, 9)),)}, "a plan for each group"),
        ({"plan": (*POLICY.plan[:2], TunedPlan(order=("dear",), agree=1))}, "agree of at least 2"),
        ({"dial": Dial(quality=1.4)}, "more than"),
        ({"dial": Dial(quality=-1.0)}, "out of range"),
    ],
)
def test_a_broken_policy_is_refused(tmp_path: Path, changed: dict[str, object], said: str) -> None:
    path = write(tmp_path, replace(POLICY, **changed))
    with pytest.raises(ConfigError, match=said) as caught:
        load_tuned_policy(path, NAMES, "pool.toml: [mixture]: policy")
    assert "\n" not in str(caught.value)


def test_the_pool_refers_to_it(tmp_path: Path) -> None:
    policy = replace(POLICY, costs={m: c for m, c in POLICY.costs.items() if m in {"small", "middle", "dear"}})
    write(tmp_path, policy)
    pool = tmp_path / "pool.toml"
    pool.write_text(POOL + '[mixture]\npolicy = "policy.toml"\n')
    assert Pool.load(pool).mixture.tuned == policy
    pool.write_text(POOL + '[mixture]\npolicy = "policy.toml"\nprefer = {cost = 0.3}\n')
    tuned = Pool.load(pool).mixture.tuned
    assert tuned is not None
    assert tuned.dial == Dial(cost=0.3)


@pytest.mark.parametrize(
    ("mixture", "said"),
    [
        ('policy = "nowhere.toml"', "routemoa tune RECORDS"),
        ('policy = "empty.toml"', r"no \[policy\] table"),
        ('policy = "policy.toml"', "made for another pool: it names odd"),
        ("prefer = {quality = 0.97}", 'needs policy = "policy.toml"'),
        ('policy = "policy.toml"\nprefer = "cheap"', "leave it out"),
        ('policy = "policy.toml"\nprefer = {quality = 0.9, cost = 0.1}', "one of both"),
        ('policy = "policy.toml"\nprefer = {speed = 0.9}', "prefer"),
        ('policy = "policy.toml"\nfusion = "published-small"', "adaptive"),
        ('prefer = "cheapest"', "prefer"),
    ],
)
def test_a_pool_that_it_does_not_fit_is_refused(tmp_path: Path, mixture: str, said: str) -> None:
    write(tmp_path)
    (tmp_path / "empty.toml").write_text("")
    pool = tmp_path / "pool.toml"
    pool.write_text(f"{POOL}[mixture]\n{mixture}\n")
    with pytest.raises(ConfigError, match=said) as caught:
        Pool.load(pool)
    assert str(caught.value).startswith(str(pool))
    assert "\n" not in str(caught.value)


def test_estimates_need_a_scorer(tmp_path: Path) -> None:
    write(tmp_path, replace(POLICY, costs={"small": 0.05, "middle": 0.1, "dear": 1.0}))
    pool = tmp_path / "pool.toml"
    pool.write_text(POOL.replace("prior = 0.5\n", "") + '[mixture]\npolicy = "policy.toml"\n')
    with pytest.raises(ConfigError, match="routemoa scorer train"):
        Pool.load(pool)
