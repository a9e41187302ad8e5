"""Graded answers to one query, from a trace or a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from routemoa.core.trace import Assessment, Trace
from routemoa.core.types import Scores
from routemoa.datasets.records import Record
from routemoa.judging.answers.grouping import Groups, group_answers
from routemoa.judging.multiple_choice import count_options
from routemoa.judging.published_fusion import impute_missing
from routemoa.routing.decision import current_assessments, latest_answers, models_with_context
from routemoa.routing.state import group_panel

__all__ = ["GradedPanel", "build_graded_panel", "build_graded_panels"]


class GradedPanel(Struct, frozen=True):
    """The answers of n models to one query, the judgments, and the grades."""

    prior: Mapping[str, float | None]
    """Of all models of the pool."""
    models: tuple[str, ...]
    """n: the model of each answer."""
    groups: Groups
    right: tuple[float | None, ...]
    """n: how right each answer is, in [0, 1]; None where it was not graded."""
    assessments: tuple[Assessment, ...]
    had_context: tuple[bool, ...]
    """n: whether the model saw other answers before it wrote its own."""
    options: int | None = None
    """Of a multiple-choice question."""

    def impute_priors(self) -> list[float]:
        """Return the prior of each answer's model, n, with unknown ones imputed."""
        known = impute_missing(self.prior, dict.fromkeys([*self.prior, *self.models]))
        return [known[m] for m in self.models]


def build_graded_panel(trace: Trace, right: Mapping[str, float | None]) -> GradedPanel:
    """Return the panel of a trace; `right` says how right each model's latest answer is, in [0, 1]."""
    proposals = latest_answers(trace)
    informed = models_with_context(trace)
    return GradedPanel(
        prior=trace.prior,
        models=tuple(p.model for p in proposals),
        groups=group_panel(trace),
        right=tuple(right.get(p.model) for p in proposals),
        assessments=current_assessments(trace),
        had_context=tuple(p.model in informed for p in proposals),
        options=count_options(trace.query.text),
    )


def build_graded_panels(records: Sequence[Record]) -> list[GradedPanel]:
    """Return a panel for each record with two graded answers, without judgments; priors are the models' mean scores."""
    if not records:
        return []
    names = list(dict.fromkeys(m for r in records for m in r.scores))
    known = {m: [s for r in records if (s := r.scores.get(m)) is not None] for m in names}
    prior: Scores = {m: (sum(v) + 1) / (len(v) + 2) for m, v in known.items()}
    panels: list[GradedPanel] = []
    for record in records:
        texts = {m: t for m, t in (record.responses or {}).items() if t and record.scores.get(m) is not None}
        if len(texts) > 1:
            panels.append(
                GradedPanel(
                    prior=prior,
                    models=tuple(texts),
                    groups=group_answers(list(texts.values())),
                    right=tuple(record.scores[m] for m in texts),
                    assessments=(),
                    had_context=(False,) * len(texts),
                    options=count_options(record.query),
                )
            )
    return panels
