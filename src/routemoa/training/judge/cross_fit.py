"""Fit a judge model on all panels, and on each half of them, so that the other half says how good such a fit is."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from msgspec import Struct

from routemoa.core.system.task_engine import LocalEngine, TaskEngine
from routemoa.judging.judge_model import JudgeModel
from routemoa.training.judge.calibration import SignalPairs, collect_signal_pairs
from routemoa.training.judge.coefficients import fit_judge_model
from routemoa.training.judge.graded_panel import GradedPanel

__all__ = ["CrossFittedJudge", "cross_fit_judge_model"]


class CrossFittedJudge(Struct, frozen=True):
    """A judge model, and its signals on panels that it was not fitted on."""

    judge_model: JudgeModel
    """Fitted on all panels."""
    held_out: Sequence[SignalPairs]
    """Of each half, with a fit on the other one."""


class FitJob(Struct, frozen=True):
    """A fit on some panels, and the others to judge with it."""

    fitted: Sequence[int]
    held_out: Sequence[int] = ()


class FitData(Struct, frozen=True):
    """What the fits share."""

    panels: Sequence[GradedPanel]
    verbalized: bool


def cross_fit_judge_model(
    panels: Sequence[GradedPanel],
    seed: int = 0,
    *,
    verbalized: bool = True,
    engine: TaskEngine = LocalEngine(),  # noqa: B008  (it holds nothing)
) -> CrossFittedJudge:
    """Fit a judge model to graded panels, and to each half of them.

    Args:
        panels: what was judged and graded.
        seed: for splitting the panels into halves.
        verbalized: self-assessments are scores that models state, not token probabilities.
        engine: works on the fits.
    """
    order = list(range(len(panels)))
    Random(seed).shuffle(order)  # noqa: S311  (a split, no secret)
    first, second = order[::2], order[1::2]
    jobs = [FitJob(first, second), FitJob(second, first), FitJob(range(len(panels)))]
    *halves, whole = engine.map(_fit, FitData(panels, verbalized), jobs)
    return CrossFittedJudge(whole[0], [held_out for _, held_out in halves])


def _fit(data: FitData, job: FitJob) -> tuple[JudgeModel, SignalPairs]:
    """Fit on some panels and judge others: what an engine works on."""
    fitted, held_out = ([data.panels[i] for i in part] for part in (job.fitted, job.held_out))
    judge_model = fit_judge_model(fitted, verbalized=data.verbalized)
    return judge_model, collect_signal_pairs(held_out, judge_model, verbalized=data.verbalized)
