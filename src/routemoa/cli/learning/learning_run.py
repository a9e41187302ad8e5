"""One run of learning: outcomes are read, learned from and compared, and what is better is taken over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from routemoa.cli.learning.judge_learning import FittedJudge, explain_judge, learn_judge
from routemoa.cli.learning.learned_files import find_current, log_step, take_over
from routemoa.cli.learning.outcome_reader import list_residuals, load_outcomes
from routemoa.cli.pool.pool_file import PoolFile
from routemoa.core.learned.learned_log import Step
from routemoa.core.learned.learned_priors import LearnedPriors
from routemoa.core.pool_file.pool import Pool
from routemoa.core.text.moments import describe_moment
from routemoa.core.text.plural import counted
from routemoa.core.types import Scores
from routemoa.datasets.outcomes import Outcome
from routemoa.evaluation.replay.outcome_replay import OutcomeReplay
from routemoa.evaluation.shadow import HeldOut, ShadowResult, compare_priors
from routemoa.judging.pool_judge import PoolJudge, load_pool_judge, read_pool_judge
from routemoa.mixture.pool_warnings import warn_of_outdated_judge
from routemoa.scoring.constant import load_base_scorer
from routemoa.scoring.learned import classify, correct_priors
from routemoa.training.cross_fit import Lesson, cross_fit, predict_lifted, select_lessons
from routemoa.training.drift import MemberDrift, find_drifts, list_fallen
from routemoa.training.judge.outcome_fit import RecordedPanel, record_panel

__all__ = ["Findings", "learn_from", "run_learning"]

BATCH = 64
"""Queries that are scored together."""
MIN_MOVE = 0.02
"""How far a prior has to move on some query, so that new priors which are no better than those of now are a step."""


class Findings(msgspec.Struct, frozen=True):
    """What a run found, before anything is written."""

    drifts: tuple[MemberDrift, ...]
    taught: int
    """Outcomes that teach."""
    compared: int
    """Of these, outcomes on which what was learned can be compared: those since the last drift."""
    learned: LearnedPriors | None = None
    """None where they are too few."""
    result: ShadowResult | None = None
    beside_scorer: bool = False
    """Whether `result` is beside the scorer alone, not beside what is known now."""
    panels: tuple[RecordedPanel, ...] = ()
    """The same outcomes as they teach of judging, with the priors that hold from here on."""


def run_learning(file: PoolFile, store_file: str | None, *, writes: bool) -> dict[str, Any]:
    """Learn, compare and take over what is better; return what --json prints. Raises ConfigError."""
    pool = Pool.from_toml(file.path, needs_keys=False)
    outcomes = load_outcomes(store_file, lambda name: name in pool, [m.name for m in pool])
    found = learn_from(pool, outcomes)
    drifts = [{**msgspec.to_builtins(d), "change": d.change} for d in found.drifts]
    report: dict[str, Any] = {"pool": str(file.path), "outcomes": len(outcomes), "drift": drifts, "action": "kept"}
    if found.result is None:
        report["why"] = _explain_too_few(len(outcomes), found, pool.learning.min_outcomes)
        return _log(file, report) if writes and outcomes else report
    report |= {"learned": msgspec.to_builtins(found.learned), "held_out": msgspec.to_builtins(found.result)}
    report["beside"] = "scorer" if found.beside_scorer else "now"
    judge = read_pool_judge(pool)
    fitted = learn_judge(pool, judge, found.panels)
    report |= _describe(found, judge, fitted)
    is_new = fitted is not None and fitted.result.better
    if not writes:
        return report | {"action": "would be taken over" if found.result.gain or is_new else "kept", "dry_run": True}
    if found.result.gain is None and not is_new:
        return _log(file, report)
    learned = _combine(pool, found, judge)
    about = counted(len(outcomes), "outcome")
    path = take_over(file, learned, time.time(), about, _figures(report), judge=fitted if is_new else None)
    return report | {"action": "taken over", "path": path}


def _describe(found: Findings, judge: PoolJudge, fitted: FittedJudge | None) -> dict[str, Any]:
    """Return what a report says of both comparisons."""
    notes = [note] if (note := warn_of_outdated_judge(judge.outdated)) else []
    report: dict[str, Any] = {"notes": notes, "why": _explain(found)}
    if fitted is not None:
        report |= {
            "judge": msgspec.to_builtins(fitted.result),
            "why": f"{report['why']}; {explain_judge(fitted.result)}",
        }
    return report


def _combine(pool: Pool, found: Findings, judge: PoolJudge) -> LearnedPriors:
    """Return the priors that hold from here on, with the judge model that is in use."""
    kept = pool.learned.judge if pool.learned and judge.learned else None
    return replace(_choose_priors(pool, found.learned, found.result), judge=kept)


def _choose_priors(pool: Pool, learned: LearnedPriors | None, result: ShadowResult | None) -> LearnedPriors:
    """Return the priors that hold from here on: those that are new where they are better, else those of now."""
    is_better = learned is not None and result is not None and result.gain is not None
    return learned if learned is not None and is_better else pool.learned or LearnedPriors()


def learn_from(pool: Pool, outcomes: Sequence[Outcome]) -> Findings:
    """Return what outcomes teach, the oldest first, and how it does beside what is known now."""
    priors, tasks = asyncio.run(_predict(pool, outcomes))
    drifts = tuple(find_drifts(list_residuals(outcomes, priors)))
    lessons, places = _select(outcomes, priors, tasks, {d.model: d.since for d in drifts})
    if len(places) < pool.learning.min_outcomes:
        return Findings(drifts, len(lessons), len(places))
    own = {o.record.id: (o, prior) for o, prior in zip(outcomes, priors, strict=True)}
    learned, result, beside_scorer = _compare(pool, own, lessons, places, list_fallen(drifts))
    now = _choose_priors(pool, learned, result)
    panels = [_record_panel(*own[each.id], each, now) for each in (lessons[i] for i in places)]
    kept = tuple(p for p in panels if p is not None)
    return Findings(drifts, len(lessons), len(places), learned, result, beside_scorer, kept)


def _record_panel(outcome: Outcome, prior: Scores, lesson: Lesson, learned: LearnedPriors) -> RecordedPanel | None:
    """Return an outcome as it teaches the judge model under new priors; what these mend is not to be mended twice."""
    if outcome.trace is None:
        return None
    return record_panel(outcome.trace, correct_priors(learned, prior, lesson.tasks), lesson.scores)


def _log(file: PoolFile, report: dict[str, Any]) -> dict[str, Any]:
    """Log that nothing was taken over, and return the report."""
    current = find_current(file)
    log_step(file, Step(describe_moment(time.time()), "kept", current, current, _figures(report)))
    return report


def _figures(report: Mapping[str, Any]) -> dict[str, Any]:
    return {key: report[key] for key in ("outcomes", "why", "held_out", "beside", "judge", "drift") if key in report}


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
        Lesson(o.at, o.predict(prior), o.teach(prior), dict(shares), o.record.id)
        for o, prior, shares in zip(outcomes, priors, tasks, strict=True)
    ]
    return select_lessons(lessons, changes)


def _compare(
    pool: Pool,
    own: Mapping[str, tuple[Outcome, Scores]],
    lessons: Sequence[Lesson],
    places: Sequence[int],
    fallen: tuple[str, ...],
) -> tuple[LearnedPriors, ShadowResult, bool]:
    """Return what the lessons teach, how it does on lessons that did not teach it, and whether beside the scorer alone.

    It is compared with what is known now, and where it is no better than that, with the scorer alone: what was learned
    from the same lessons predicts them better than it predicts others, so that later lessons would hardly count. Priors
    that differ too little to show are not: nearly each run would be a step that changes nothing.

    Args:
        pool: with what is known now.
        own: each outcome and the scorer's prediction, by the lesson's id.
        lessons: what teaches.
        places: of the lessons that are compared.
        fallen: members that have become worse, which are learned as well.
    """
    now, fit = replace(pool.learned or LearnedPriors(), judge=None), cross_fit(lessons)
    learned = replace(fit.learned, fallen=fallen)
    replay = OutcomeReplay(pool, load_pool_judge(pool))

    def compare_with(known: LearnedPriors) -> ShadowResult:
        before, held_out = predict_lifted(lessons, known), []
        for i in places:
            (outcome, prior), tasks = own[lessons[i].id], lessons[i].tasks
            chosen = replay.choose(outcome, *(correct_priors(each, prior, tasks) for each in (known, fit.others[i])))
            held_out.append(HeldOut(outcome.record, before[i], fit.after[i], lessons[i].scores, chosen))
        return compare_priors(held_out)

    result = compare_with(now)
    is_first = replace(now, fallen=()) == LearnedPriors()
    queries = [(own[each.id][1], each.tasks) for each in lessons]
    if result.gain is None and not is_first and _differ(now, learned, queries):
        alone = compare_with(LearnedPriors())
        if alone.gain is not None:
            return learned, alone, True
    return learned, result, False


def _differ(now: LearnedPriors, new: LearnedPriors, queries: Sequence[tuple[Scores, Mapping[str, float]]]) -> bool:
    """Return whether new priors differ from those of now so far that it shows.

    Args:
        now: what is known now.
        new: what was learned.
        queries: the scorer's own predictions for each, and P(task | query).
    """
    if set(now.fallen) != set(new.fallen):
        return True
    for prior, tasks in queries:
        old, moved = correct_priors(now, prior, tasks), correct_priors(new, prior, tasks)
        for name, p in moved.items():
            before = old[name]
            if (p is None) != (before is None) or abs((p or 0.0) - (before or 0.0)) >= MIN_MOVE:
                return True
    return False


def _explain_too_few(outcomes: int, found: Findings, needed: int) -> str:
    """Return why nothing can be compared yet, in one line."""
    enough = f"at least {needed} are needed"
    if outcomes < needed:
        return f"{counted(outcomes, 'outcome')}; {enough}; callers send them to POST /v1/feedback"
    if found.drifts:
        return f"{counted(found.compared, 'outcome')} since the last drift, of {found.drifts[-1].model}; {enough}"
    hint = "where models without a prior answer together, thumbs teach nothing: send labels or expected answers"
    return f"{found.taught} of {counted(outcomes, 'outcome')} teach; {enough}; {hint}"


def _explain(found: Findings) -> str:
    """Return why priors are taken over, or are not, in one line."""
    result = found.result
    if result is None:
        return ""
    beside = "the scorer alone" if found.beside_scorer else "those of now"
    said = f"on {counted(result.queries, 'outcome')}, each held out in its turn, beside {beside}:"
    match result.gain:
        case "accuracy":
            return f"{said} the answer is right more often"
        case "cost":
            return f"{said} the answer costs less and is right as often"
        case "prediction" if result.accuracy is None:
            return f"{said} the predictions are better; what they do to the answers is not known"
        case "prediction":
            return f"{said} the predictions are better, and the answer is no worse"
        case _:
            return f"{said} nothing is better with its whole interval"
