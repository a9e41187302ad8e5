"""Learn on one half of recorded questions and replay all methods on the other, for several splits."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.types import Scores
from routemoa.evaluation.outcomes import Outcome
from routemoa.evaluation.replay.baselines import majority_vote
from routemoa.evaluation.replay.methods import Replay
from routemoa.evaluation.replay.simulator import SimulatedRun
from routemoa.evaluation.replay.token_counts import ReplayQuestion
from routemoa.evaluation.statistics import compute_savings, summarize
from routemoa.judging.answers.grouping import Groups
from routemoa.judging.judge_model import Coefficients, JudgeModel
from routemoa.judging.multiple_choice import count_options
from routemoa.training.judge import (
    GradedPanel,
    build_graded_panel,
    collect_signal_pairs,
    fit_error_correlation,
    fit_judge_model,
    fit_lone_leader,
    measure_signals,
)
from routemoa.training.table import average_samples

__all__ = ["learn_judge_model", "run_study"]

ROW_NAMES = {
    "routemoa": "routemoa", "best-single": "best single", "fixed-best-3": "vote of 3", "vote-all": "vote of all",
    "random": "random panel", "shuffled": "shuffled", "oracle": "oracle", "moa": "dense MoA",
}  # fmt: skip
"""Replayed method -> its row."""
BASELINES = ("best single", "vote of all", "grow until two ahead", "shuffled")
MEASURES = ("tokens", "path_tokens", "cost")


class Split(Struct, frozen=True):
    """What one split of the questions gave."""

    outcomes: list[Outcome]
    judge_model: JudgeModel
    layers: float
    """Mean layers of RouteMoA."""
    signals: Any
    """Of `training.judge.told` on the test half."""


def grow_panel(question: ReplayQuestion, order: tuple[str, ...], lead: int = 2, limit: int = 9) -> tuple[str, ...]:
    """Return the panel of the simple rule of mixture-notes.md: grow until one answer leads by `lead`."""
    size = 0
    for size in range(2, min(limit, len(order)) + 1):
        groups = [group for m in order[:size] if (group := question.group_of.get(m)) is not None]
        counts = sorted(Counter(groups).values(), reverse=True)
        if counts and counts[0] - (counts[1] if len(counts) > 1 else 0) >= lead:
            break
    return order[:size]


def learn_judge_model(train: Replay, prior: Scores, seed: int) -> JudgeModel:
    """Learn everything about judging on the training half."""
    graded = [_graded_answers(question, train.members, prior) for question in train.questions]
    judge_model = JudgeModel(Coefficients(), fit_error_correlation(graded))
    if train.judge_auc is not None:  # judgments of every query: nothing stops before the second layer
        train = replace(train, mixture=replace(train.mixture, stop_confidence=1.0))
    runs = replace(train, judge_model=judge_model).simulate_policy("routemoa", seed)
    learned = fit_judge_model([_graded_run(question, run) for question, run in zip(train.questions, runs, strict=True)])
    learned = replace(learned, correlation=judge_model.correlation)
    lone_leader = fit_lone_leader(graded, learned)
    return replace(learned, coefficients=replace(learned.coefficients, lone_leader=lone_leader))


def _graded_answers(question: ReplayQuestion, members: tuple[str, ...], prior: Scores) -> GradedPanel:
    """Return a record as a graded query without judgments."""
    groups = Groups(tuple(question.group_of.get(m) for m in members), question.groups.closed, (None,) * len(members))
    scores = tuple(question.record.scores[m] for m in members)
    options = count_options(question.record.query)
    return GradedPanel(prior, members, groups, scores, (), (False,) * len(members), options)


def _graded_run(question: ReplayQuestion, run: SimulatedRun) -> GradedPanel:
    return build_graded_panel(run.trace, question.record.scores)


def run_split(
    questions: list[ReplayQuestion], models: list[str], seed: int, mixture: Mixture, judge_auc: float | None
) -> Split:
    """Learn on one half of the questions, measure on the other."""
    order = np.random.default_rng(seed).permutation(len(questions))
    train, test = ([questions[i] for i in half] for half in np.split(order, [len(questions) // 2]))
    scores = np.array([[q.record.scores[m] or 0.0 for m in models] for q in train], np.float32)
    right = average_samples(models, scores).sum(0, dtype=np.float64).tolist()
    prior: Scores = {m: (r + 1) / (len(train) + 2) for m, r in zip(models, right, strict=True)}
    best_first = tuple(sorted(models, key=lambda m: -(prior[m] or 0.0)))
    base = Replay(train, tuple(models), [prior] * len(train), best_first, mixture, judge_auc=judge_auc)
    judge_model = learn_judge_model(base, prior, seed)
    replay = replace(base, questions=test, priors=[prior] * len(test), judge_model=judge_model)
    runs = replay.simulate_policy("routemoa", seed)
    outcomes = [replace(o, method=ROW_NAMES[o.method]) for o in replay.run(ROW_NAMES, seed, runs=runs)]
    for question in test:
        record, panel = question.record, grow_panel(question, best_first)
        chosen = majority_vote(question, panel) or panel[0]
        for row, score, calls in (
            ("grow until two ahead", record.scores[chosen], len(panel)),
            ("any of 3", max(record.scores[m] or 0.0 for m in best_first[:3]), 3),
        ):
            outcomes.append(Outcome(row, record.task, record.id, score, calls=calls, seed=seed))
    signals = collect_signal_pairs(
        [_graded_run(question, run) for question, run in zip(test, runs, strict=True)], judge_model
    )
    return Split(outcomes, judge_model, sum(len(run.trace.layers) for run in runs) / len(runs), signals)


def run_study(
    questions: list[ReplayQuestion], models: list[str], mixture: Mixture, splits: int, judge_auc: float | None
) -> dict[str, Any]:
    """Return the figures of one pool over all splits."""
    runs = [run_split(questions, models, seed, mixture, judge_auc) for seed in range(splits)]
    outcomes = [outcome for run in runs for outcome in run.outcomes]
    summary = summarize(outcomes, 0)
    by_split = [summarize(run.outcomes, 0)["methods"] for run in runs] if splits > 1 else [summary["methods"]]
    learned = [run.judge_model for run in runs]
    return {
        "models": len(models),
        "questions": len(questions),
        "layers": float(np.mean([run.layers for run in runs])),
        "rows": {
            row: {key: figures[key] for key in ("accuracy", "ci95", "calls", *MEASURES)}
            | {"sd": float(np.std([methods[row]["accuracy"] for methods in by_split]))}
            for row, figures in summary["methods"].items()
        },
        "gain_over": {row: gain_in_points(summary["paired"][f"routemoa|{row}"]) for row in BASELINES},
        "savings": {row: compute_savings(outcomes, "routemoa", row, 0) for row in ("dense MoA", "vote of all")},
        "calibration": measure_signals(*(run.signals for run in runs)),  # each split judged by its own training half
        "learned": {
            "spread": float(np.mean([j.correlation.difficulty_sd for j in learned])),
            "scatter": float(np.mean([j.correlation.error_concentration for j in learned])),
            "votes": float(np.mean([j.coefficients.votes for j in learned])),
            "lone_leader": float(np.mean([j.coefficients.lone_leader for j in learned])),
            "cross": float(np.mean([j.coefficients.cross for j in learned])),
        },
    }


def gain_in_points(pair: dict[str, Any]) -> dict[str, Any]:
    return {"points": 100 * pair["difference"], "ci95": [100 * x for x in pair["ci95"]], "p": pair["p"]}
