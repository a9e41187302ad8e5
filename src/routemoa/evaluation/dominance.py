"""Find a model that dominates its pool, so that a mixture will not help. Pure.

A model dominates where it is more accurate than every other one, by more than chance, and one of these holds:

- The mixture was run, and gains less than MIN_GAIN over it even at the upper end of the 95 % interval.
- It was not run, but there is nothing to gain: questions that the model gets wrong and most of its rivals get right,
  which is what a vote could correct, are fewer than MAX_CORRECTABLE of all, at the upper end of their interval.
- It was not run, the model is FAR_AHEAD, and a vote that overrides it loses more than it corrects: where the model is
  right and most rivals are wrong, they give the same wrong answer at least as often as two wrong answers coincide by
  default (`ErrorCorrelation.error_concentration`).

Without a run, choosing the best model of each task must not gain more than MAX_CORRECTABLE, either.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from routemoa.core.learned.intervals import Z95, wilson_interval
from routemoa.core.types import Scores
from routemoa.evaluation.formatting import format_interval, format_percent, format_points
from routemoa.evaluation.statistics import MeanInterval, gain_interval
from routemoa.judging.posterior import ErrorCorrelation

__all__ = ["MIN_GAIN", "Dominance", "describe_dominance", "find_dominating_model"]

MIN_QUESTIONS = 50
"""Below so many questions that two models share nothing is concluded."""
MIN_GAIN = 0.01
"""Of the accuracy: a mixture that gains less is not worth its calls."""
MAX_CORRECTABLE = 0.02
"""Share of the questions."""
FAR_AHEAD = 0.05
"""Of the accuracy: the least lead over the runner-up, at the lower end of its interval."""
COINCIDENCE = 1 / (1 + ErrorCorrelation().error_concentration)
"""Probability that two wrong answers are the same."""
MAX_RIVALS = 3
"""The models, next in accuracy, whose majority counts."""
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Dominance(Struct, frozen=True):
    """A model that dominates, and the evidence."""

    model: str
    questions: int
    """That it and the runner-up were both graded on."""
    accuracy: float
    runner_up: str
    runner_up_accuracy: float
    lead: MeanInterval
    """Over the runner-up, on the same questions."""
    wrong: int
    """Questions that it gets wrong."""
    runner_up_right: int
    """Of these, what the runner-up gets right."""
    rivals: tuple[str, ...]
    """The next models in accuracy."""
    correctable: int
    """What it gets wrong and most of the rivals get right."""
    correctable_share: MeanInterval
    """Of the questions that it and all rivals were graded on."""
    outvoted: int
    """What it gets right and most of the rivals get wrong."""
    mixture: MeanInterval | None = None
    """What the mixture gained over it, where it was run."""


def find_dominating_model(
    scores: Sequence[Scores], tasks: Sequence[str], mixture: Sequence[float | None] | None = None, seed: int = 0
) -> Dominance | None:
    """Return the model that dominates; None where none does or too little is known.

    Args:
        scores: of each question: model -> its score in [0, 1], None where it was not graded.
        tasks: of each question.
        mixture: the mixture's score of each question, where it was run.
        seed: of the bootstrap.
    """
    models = sorted({m for row in scores for m, score in row.items() if score is not None})
    table = np.array([[_to_number(row.get(m)) for m in models] for row in scores], np.float64)
    if len(models) < 2 or not len(table):
        return None
    means = np.array([np.nanmean(column) for column in table.T])
    best, *others = (int(i) for i in np.argsort(-means, kind="stable"))
    if any(not _is_below(table[:, best], table[:, other]) for other in others):
        return None
    shared = ~np.isnan(table[:, [best, others[0]]]).any(axis=1)
    lead = gain_interval(list(table[shared, best] - table[shared, others[0]]), seed)
    rivals = others[:MAX_RIVALS]
    graded = table[~np.isnan(table[:, [best, *rivals]]).any(axis=1)]
    is_right, rivals_right = graded[:, best] >= 0.5, (graded[:, rivals] >= 0.5).mean(axis=1)
    correctable, outvoted = ~is_right & (rivals_right > 0.5), is_right & (rivals_right < 0.5)
    gain = _measure_gain(table[:, best], mixture, seed)
    task_gain = _best_of_tasks(table, tasks) - means[best]
    if lead.low <= 0 or not _is_nothing_to_gain(gain, lead, correctable, outvoted, task_gain):
        return None
    wrong = shared & (table[:, best] < 0.5)
    share = float(correctable.mean())
    return Dominance(
        model=models[best],
        questions=int(shared.sum()),
        accuracy=float(table[shared, best].mean()),
        runner_up=models[others[0]],
        runner_up_accuracy=float(table[shared, others[0]].mean()),
        lead=lead,
        wrong=int(wrong.sum()),
        runner_up_right=int((wrong & (table[:, others[0]] >= 0.5)).sum()),
        rivals=tuple(models[i] for i in rivals),
        correctable=int(correctable.sum()),
        correctable_share=MeanInterval(share, *wilson_interval(share, len(correctable))),
        outvoted=int(outvoted.sum()),
        mixture=gain,
    )


def _is_nothing_to_gain(
    gain: MeanInterval | None, lead: MeanInterval, correctable: Bools, outvoted: Bools, task_gain: float
) -> bool:
    """Return whether a mixture will not help, by the rules above; `correctable` and `outvoted` are by question."""
    if gain is not None:
        return gain.high < MIN_GAIN
    count = len(correctable)
    if count < MIN_QUESTIONS or task_gain > MAX_CORRECTABLE:
        return False
    if wilson_interval(float(correctable.mean()), count)[1] <= MAX_CORRECTABLE:
        return True
    net = correctable - COINCIDENCE * outvoted
    return lead.low >= FAR_AHEAD and float(net.mean() + Z95 * net.std(ddof=1) / math.sqrt(count)) < 0


def describe_dominance(found: Dominance) -> str:
    """Return the warning with its evidence."""
    best, second = format_percent(found.accuracy), format_percent(found.runner_up_accuracy)
    lead = f"{format_points(found.lead.mean)} points, 95 % {_format_ends(found.lead)}"
    sentence = (
        f"{found.model} dominates this pool, and a mixture will not help here: use `single:{found.model}`. On "
        f"{found.questions:,} questions it is right on {best}, the next best, {found.runner_up}, on {second} ({lead})"
    )
    if found.wrong:
        sentence += f"; of its {found.wrong:,} wrong answers {found.runner_up} has {found.runner_up_right:,} right"
        share = found.correctable_share
        ends = f"{format_percent(share.mean)}, 95 % {format_interval((share.low, share.high))}"
        if len(found.rivals) > 1:
            sentence += (
                f", and a vote of the next {len(found.rivals)} could correct {found.correctable:,} ({ends}) and spoil "
                f"up to {found.outvoted:,} right ones"
            )
    if found.mixture:
        gain = f"{format_points(found.mixture.mean)} points, 95 % {_format_ends(found.mixture)}"
        sentence += f"; the mixture differs from it by {gain}"
    return sentence


def _measure_gain(best: Floats, mixture: Sequence[float | None] | None, seed: int) -> MeanInterval | None:
    """Return what the mixture gains over a model on the questions graded for both; None where it was not run."""
    if mixture is None:
        return None
    difference = np.array([_to_number(score) for score in mixture]) - best
    known = difference[~np.isnan(difference)]
    return gain_interval(list(known), seed) if len(known) >= MIN_QUESTIONS else None


def _is_below(best: Floats, other: Floats) -> bool:
    """Return whether a model is less accurate than the best by more than chance, on enough shared questions."""
    difference = (best - other)[~np.isnan(best - other)]
    if len(difference) < MIN_QUESTIONS:
        return False
    return bool(difference.mean() > Z95 * difference.std(ddof=1) / math.sqrt(len(difference)))


def _best_of_tasks(table: Floats, tasks: Sequence[str]) -> float:
    """Return the accuracy of the best model of each task, chosen on these questions: an optimistic estimate."""
    names = np.array(tasks)
    total = 0.0
    for task in dict.fromkeys(tasks):
        rows = table[names == task]
        known = rows[:, ~np.isnan(rows).all(axis=0)]
        total += len(rows) * float(np.nanmean(known, axis=0).max()) if known.size else 0.0
    return total / len(table)


def _format_ends(interval: MeanInterval) -> str:
    return f"{format_points(interval.low)} to {format_points(interval.high)}"


def _to_number(score: float | None) -> float:
    return math.nan if score is None else score
