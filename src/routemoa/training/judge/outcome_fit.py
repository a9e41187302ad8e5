"""Fit the judge model on outcomes, and judge each outcome with a fit on the others. Pure.

Outcomes of one query are held out together. A tenth of the feedback is taken to be wrong: a grade counts as far as the
judge model of now finds it likely, given what was said.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.trace import Trace
from routemoa.core.types import ModelSpec, Scores
from routemoa.judging.judge_model import JudgeModel
from routemoa.routing.decision import models_with_context
from routemoa.routing.policy import relate_candidates
from routemoa.routing.state import TraceReader
from routemoa.training.judge.coefficients import fit_judge_model
from routemoa.training.judge.graded_panel import GradedPanel, build_graded_panel
from routemoa.training.prior_shifts import NOISE

__all__ = ["JudgeFit", "JudgedPanel", "RecordedPanel", "fit_on_outcomes", "judge_trace", "record_panel"]

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


def record_panel(trace: Trace, prior: Scores, scores: Scores) -> RecordedPanel | None:
    """Return a trace as it teaches the judge model; None where it does not: by its method, without texts or scores.

    A score of a model's first answer says nothing of a later one, nor of one that it wrote after seeing the others'.

    Args:
        trace: of an answer.
        prior: of all members of the pool, as it is now.
        scores: of each member's first own answer.
    """
    counts = Counter(p.model for layer in trace.layers for p in layer.proposals)
    if trace.method != "routemoa" or not trace.query.text.strip() or not counts.keys() <= prior.keys():
        return None
    informed = models_with_context(trace)
    known: Scores = {m: s for m, s in scores.items() if s is not None and counts[m] == 1 and m not in informed}
    return RecordedPanel(replace(trace, prior=dict(prior)), known) if known else None


def fit_on_outcomes(
    recorded: Sequence[RecordedPanel],
    base: JudgeModel,
    now: JudgeModel,
    specs: Sequence[ModelSpec],
    *,
    verbalized: bool,
) -> JudgeFit:
    """Return a judge model of outcomes, and each outcome as it is judged now and by a fit on the others.

    Args:
        recorded: the outcomes.
        base: what is known without learning; the fit starts from it, so that the same outcomes are not counted twice.
        now: what is in use.
        specs: the members of the pool.
        verbalized: self-assessments are scores that models state, not token probabilities.
    """
    before = [judge_trace(each.trace, now, specs, verbalized=verbalized) for each in recorded]
    panels = [_grade(each, judged.probabilities) for each, judged in zip(recorded, before, strict=True)]
    folds = [zlib.crc32(each.trace.query.text.encode()) % FOLDS for each in recorded]
    after = list(before)
    for fold in sorted(set(folds)):
        others = [panel for panel, f in zip(panels, folds, strict=True) if f != fold]
        fitted = fit_judge_model(others, verbalized=verbalized, start=base)
        for i in (i for i, f in enumerate(folds) if f == fold):
            after[i] = judge_trace(recorded[i].trace, fitted, specs, verbalized=verbalized)
    return JudgeFit(fit_judge_model(panels, verbalized=verbalized, start=base), tuple(before), tuple(after))


def judge_trace(trace: Trace, judge_model: JudgeModel, specs: Sequence[ModelSpec], *, verbalized: bool) -> JudgedPanel:
    """Return what a judge model makes of a trace."""
    served = replace(judge_model, correlation=relate_candidates(judge_model.correlation, specs))
    reader = TraceReader(tuple(trace.prior), served, verbalized)
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
