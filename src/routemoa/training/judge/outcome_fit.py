"""Fit the judge model on outcomes, and judge each outcome with a fit on the others. Pure.

Outcomes of one query are held out together. A tenth of the feedback is taken to be wrong: a grade counts as far as the
judge model of now finds it likely, given what was said.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.trace import Trace
from routemoa.core.types import Scores
from routemoa.judging.judge_model import JudgeModel
from routemoa.routing.state import TraceReader
from routemoa.training.judge.coefficients import fit_judge_model
from routemoa.training.judge.graded_panel import GradedPanel, build_graded_panel
from routemoa.training.prior_shifts import NOISE

__all__ = ["JudgeFit", "JudgedPanel", "RecordedPanel", "fit_on_outcomes"]

FOLDS = 5
SURE = 0.1
"""A grade that is this near to 0 or 1 is taken as such."""


class RecordedPanel(Struct, frozen=True):
    """A trace with the priors of now, and what feedback says of its answers, in [0, 1]."""

    trace: Trace
    scores: Scores


class JudgedPanel(Struct, frozen=True):
    """What a judge model makes of a trace: its choice, and P(right) of each answer, in [0, 1]."""

    choice: str | None
    probabilities: dict[str, float]


class JudgeFit(Struct, frozen=True):
    """What all outcomes teach, and how each is judged now and by what the others teach."""

    judge_model: JudgeModel
    before: tuple[JudgedPanel, ...]
    after: tuple[JudgedPanel, ...]


def fit_on_outcomes(recorded: Sequence[RecordedPanel], now: JudgeModel, *, verbalized: bool) -> JudgeFit:
    """Return a judge model of outcomes, and each outcome as it is judged now and by a fit on the others."""
    before = [_judge(each.trace, now, verbalized=verbalized) for each in recorded]
    panels = [_grade(each, judged.probabilities) for each, judged in zip(recorded, before, strict=True)]
    folds = [zlib.crc32(each.trace.query.text.encode()) % FOLDS for each in recorded]
    after = list(before)
    for fold in sorted(set(folds)):
        others = [panel for panel, f in zip(panels, folds, strict=True) if f != fold]
        fitted = _extend(now, fit_judge_model(others, verbalized=verbalized))
        for i in (i for i, f in enumerate(folds) if f == fold):
            after[i] = _judge(recorded[i].trace, fitted, verbalized=verbalized)
    whole = _extend(now, fit_judge_model(panels, verbalized=verbalized))
    return JudgeFit(whole, tuple(before), tuple(after))


def _extend(now: JudgeModel, fitted: JudgeModel) -> JudgeModel:
    """Return a fit with what `judge calibrate` knows, which outcomes do not teach."""
    return replace(fitted, pairwise_judge=now.pairwise_judge, open_evidence=now.open_evidence)


def _judge(trace: Trace, judge_model: JudgeModel, *, verbalized: bool) -> JudgedPanel:
    reader = TraceReader(tuple(trace.prior), judge_model, verbalized)
    state = reader.read_panel(trace)
    found = reader.score_models(trace.prior, state)
    shown = {p.model: s for p in state.proposals if (s := found.get(p.model)) is not None}
    supporters = () if state.leader is None else state.supporters(state.leader)
    choice = max(supporters, key=lambda m: trace.prior.get(m) or 0.0, default=None)
    return JudgedPanel(choice, shown)


def _grade(recorded: RecordedPanel, probabilities: Mapping[str, float]) -> GradedPanel:
    grades = {m: _believe(s, probabilities.get(m, 0.5)) for m, s in recorded.scores.items() if s is not None}
    return build_graded_panel(recorded.trace, grades)


def _believe(score: float, probability: float) -> float:
    """Return how likely an answer is right, given what feedback says of it and what was expected before."""
    if score not in (0.0, 1.0):
        return score
    said = 1.0 - NOISE if score else NOISE
    right = probability * said / (probability * said + (1.0 - probability) * (1.0 - said))
    return 0.0 if right < SURE else 1.0 if right > 1.0 - SURE else right
