"""The result of tuning: the policy's file, and the figures of the curve."""

from __future__ import annotations

from typing import Any

import numpy as np

from routemoa.core.learned.cost_dial import Dial, Mix, Point
from routemoa.core.learned.tuned_policy import TunedGroup, TunedPoint, TunedPolicy
from routemoa.training.tuning.curve import Curve
from routemoa.training.tuning.plans import TuningData

__all__ = ["build_policy_file", "summarize_curve"]


def build_policy_file(curve: Curve, data: TuningData, tasks: tuple[str, ...], dial: Dial, source: str) -> TunedPolicy:
    """Return the policy of a curve, with the plans that its hull uses."""
    used = sorted({place for point in curve.hull for place in point.plans})
    place_of = {place: i for i, place in enumerate(used)}
    plans = tuple(curve.plans[place] for place in used)
    has_rate = any(plan.rate is not None for plan in plans)
    named = {m for plan in plans for m in plan.order}
    means = data.costs.mean(0)
    costs = {m: float(c) for m, c in zip(data.models, means, strict=True) if has_rate or m in named}
    single = data.models[data.best_single]
    return TunedPolicy(
        best_single=single,
        dial=dial,
        costs=costs,
        group=tuple(
            TunedGroup(
                center=dict(zip(data.models, center.tolist(), strict=True)) if len(curve.grouping.centers) > 1 else {},
                questions=int((curve.groups == j).sum()),
                mostly=_describe_group(curve, tasks, j),
            )
            for j, center in enumerate(curve.grouping.centers)
        ),
        plan=plans,
        point=tuple(
            TunedPoint(cost=p.cost, quality=p.quality, plans=tuple(place_of[i] for i in p.plans)) for p in curve.hull
        ),
        questions=len(data.scores),
        source=source,
    )


def _describe_group(curve: Curve, tasks: tuple[str, ...], group: int) -> str:
    """Return the tasks that make up most of a group, with their shares."""
    own = [task for task, g in zip(tasks, curve.groups.tolist(), strict=True) if g == group]
    counts = sorted(((own.count(task), task) for task in set(own)), key=lambda c: (-c[0], c[1]))
    return ", ".join(f"{task} {100 * n / len(own):.0f} %" for n, task in counts[:3])


def summarize_curve(curve: Curve, policy: TunedPolicy, accuracy: float, dollars: float) -> dict[str, Any]:
    """Return the figures of `routemoa tune --json`; docs/how-to/tune.md defines each key.

    Args:
        curve: what tuning found.
        policy: the file.
        accuracy: of the best single model.
        dollars: of one of its calls.
    """
    mix = policy.mix
    return {
        "best_single_model": policy.best_single,
        "best_single": accuracy,
        "best_single_cost": dollars,
        "questions": policy.questions,
        "models": list(policy.models),
        "asked": {"quality": policy.dial.quality} if policy.dial.cost is None else {"cost": policy.dial.cost},
        "chosen": {
            **_measure(curve, mix, mix.average(curve.hull)),
            "share_of_dearer": mix.share,
            "plans": [describe_plans(policy, place) for place in dict.fromkeys((mix.low, mix.high))],
        },
        "groups": [{"questions": g.questions, "mostly": g.mostly} for g in policy.group],
        "curve": [
            {**_measure(curve, Mix(i, i, 0.0), point), "plans": describe_plans(policy, i)}
            for i, point in enumerate(curve.hull)
        ],
    }


def describe_plans(policy: TunedPolicy, place: int) -> list[str]:
    """Return the plan of each group at a point of the hull, in words."""
    return [str(policy.plan[i]) for i in policy.point[place].plans]


def _measure(curve: Curve, mix: Mix, reached: Point) -> dict[str, Any]:
    cost, quality = curve.measure_interval(mix)
    return {
        "cost": float(np.round(reached.cost, 6)),
        "cost_ci95": cost,
        "quality": float(np.round(reached.quality, 6)),
        "quality_ci95": quality,
    }
