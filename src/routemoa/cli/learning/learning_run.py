"""One run of learning: outcomes are read, learned from and compared, and what is better is taken over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from routemoa.cli.learning.learned_files import Step, find_current, log_step, take_over
from routemoa.cli.learning.moments import describe_moment
from routemoa.cli.learning.outcome_reader import list_residuals, load_outcomes
from routemoa.cli.pool.pool_file import PoolFile
from routemoa.core.learned_priors import LearnedPriors
from routemoa.core.plural import counted
from routemoa.core.pool import Pool
from routemoa.core.types import Scores
from routemoa.datasets.outcomes import Outcome
from routemoa.evaluation.shadow import HeldOut, ShadowResult, compare_priors
from routemoa.scoring.constant import load_base_scorer
from routemoa.scoring.learned import classify
from routemoa.training.cross_fit import Lesson, cross_fit, select_lessons
from routemoa.training.drift import MemberDrift, find_drifts

__all__ = ["Findings", "learn_from", "run_learning"]

BATCH = 64
"""Queries that are scored together."""


class Findings(msgspec.Struct, frozen=True):
    """What a run found, before anything is written."""

    drifts: tuple[MemberDrift, ...]
    compared: int
    """Outcomes on which what was learned can be compared."""
    learned: LearnedPriors | None = None
    """None where they are too few."""
    result: ShadowResult | None = None


def run_learning(file: PoolFile, store_file: str | None, *, writes: bool) -> dict[str, Any]:
    """Learn, compare and take over what is better; return what --json prints. Raises ConfigError."""
    pool = Pool.from_toml(file.path, needs_keys=False)
    outcomes = load_outcomes(store_file, lambda name: name in pool, [m.name for m in pool])
    found = learn_from(pool, outcomes)
    drifts = [{**msgspec.to_builtins(d), "change": d.change} for d in found.drifts]
    report: dict[str, Any] = {"pool": str(file.path), "outcomes": len(outcomes), "drift": drifts, "action": "kept"}
    if found.result is None:
        needed = pool.learning.min_outcomes
        since = f" since the last drift, of {found.drifts[-1].model}" if len(outcomes) >= needed else ""
        hint = "callers send them to POST /v1/feedback"
        report["why"] = f"{counted(found.compared, 'outcome')}{since}; at least {needed} are needed; {hint}"
        return _log(file, report) if writes and outcomes else report
    report |= {"learned": msgspec.to_builtins(found.learned), "held_out": msgspec.to_builtins(found.result)}
    report["why"] = _explain(found.result)
    if not writes:
        return report | {"action": "would be taken over" if found.result.gain else "kept", "dry_run": True}
    if found.result.gain is None or found.learned is None:
        return _log(file, report)
    path = take_over(file, found.learned, time.time(), counted(len(outcomes), "outcome"), _figures(report))
    return report | {"action": "taken over", "path": path}


def learn_from(pool: Pool, outcomes: Sequence[Outcome]) -> Findings:
    """Return what outcomes teach, the oldest first, and how it does beside what is known now."""
    priors, tasks = asyncio.run(_predict(pool, outcomes))
    drifts = tuple(find_drifts(list_residuals(outcomes, priors)))
    lessons, places = _select(outcomes, priors, tasks, {d.model: d.since for d in drifts})
    if len(places) < pool.learning.min_outcomes:
        return Findings(drifts, len(places))
    return Findings(drifts, len(places), *_compare(pool, outcomes, lessons, places))


def _log(file: PoolFile, report: dict[str, Any]) -> dict[str, Any]:
    """Log that nothing was taken over, and return the report."""
    current = find_current(file)
    log_step(file, Step(describe_moment(time.time()), "kept", current, current, _figures(report)))
    return report


def _figures(report: Mapping[str, Any]) -> dict[str, Any]:
    return {key: report[key] for key in ("outcomes", "why", "held_out", "drift") if key in report}


async def _predict(pool: Pool, outcomes: Sequence[Outcome]) -> tuple[list[Scores], list[Mapping[str, float]]]:
    """Return what the scorer itself predicts for each query, without what was learned, and P(task | query)."""
    scorer, found, tasks = load_base_scorer(pool), list[Any](), list[Any]()
    for i in range(0, len(outcomes), BATCH):
        queries = [o.query for o in outcomes[i : i + BATCH]]
        found += await asyncio.gather(*(scorer.score(q, pool.models) for q in queries))
        tasks += await asyncio.gather(*(classify(scorer, q) for q in queries))
    return found, tasks


def _select(
    outcomes: Sequence[Outcome],
    priors: Sequence[Scores],
    tasks: Sequence[Mapping[str, float]],
    changes: Mapping[str, float],
) -> tuple[list[Lesson], list[int]]:
    """Return what teaches, and the places of the lessons that are compared."""
    lessons = [
        Lesson(o.at, o.predict(prior), o.taught, dict(shares), o.record.id)
        for o, prior, shares in zip(outcomes, priors, tasks, strict=True)
    ]
    return select_lessons(lessons, changes)


def _compare(
    pool: Pool, outcomes: Sequence[Outcome], lessons: Sequence[Lesson], places: Sequence[int]
) -> tuple[LearnedPriors, ShadowResult]:
    """Return what the lessons teach, and how it does beside what is known now, on lessons that did not teach it."""
    record_of = {o.record.id: o.record for o in outcomes}
    fit = cross_fit(lessons, pool.learned or LearnedPriors())
    held_out = [HeldOut(record_of[lessons[i].id], fit.before[i], fit.after[i], lessons[i].scores) for i in places]
    return fit.learned, compare_priors(held_out)


def _explain(result: ShadowResult) -> str:
    """Return why it is taken over, or is not, in one line."""
    said = f"on {counted(result.queries, 'outcome')}, each held out in its turn,"
    match result.gain:
        case "accuracy":
            return f"{said} the choice is right more often"
        case "cost":
            return f"{said} the choice costs less and is right as often"
        case "prediction":
            return f"{said} the predictions are better, and the choice is no worse"
        case _:
            return f"{said} nothing is better with its whole interval"
