"""Analyse one method's outcomes: differences by task, calibration, models called and chosen, layers, stop reasons."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from routemoa.core.stop_reason import StopKind, StopReason
from routemoa.evaluation.calibration import Calibration, calibrate_pairs
from routemoa.evaluation.outcomes import Outcome
from routemoa.evaluation.report.method_rows import MethodOutcomes, QuestionOutcomes, mean_score

__all__ = [
    "NO_CHOICE",
    "ComparedExample",
    "LayerSummary",
    "ModelShares",
    "StopSummary",
    "TaskComparison",
    "compare_tasks",
    "count_model_shares",
    "measure_calibration",
    "summarize_layers",
    "summarize_stops",
]

MAX_EXAMPLES = 10
"""Of each kind, for each task."""
MAX_STOP_KINDS = 12
NO_CHOICE = "(nobody)"
"""The name, in `ModelShares.final`, for questions without a chosen model."""
Shares = dict[str, dict[str, float]]
"""Model -> column -> share of questions."""


class ComparedExample(Struct, frozen=True):
    """A question that only one of two methods answered right."""

    ours: Outcome
    theirs: Outcome


class TaskComparison(Struct, frozen=True):
    """Two methods on the questions of one task."""

    task: str
    n: int
    ours: float | None
    """Accuracy."""
    theirs: float | None
    """Accuracy."""
    helped: int
    """Questions that only our method answered right."""
    hurt: int
    """Questions that only the other answered right."""
    helpful: tuple[ComparedExample, ...]
    hurtful: tuple[ComparedExample, ...]


class ModelShares(Struct, frozen=True, rename={"by_layer": "layered"}):
    """How often models were called and chosen, as shares of the questions of a column."""

    models: tuple[str, ...]
    tasks: dict[str, int]
    """Task -> questions."""
    layers: dict[str, int]
    """Number of the layer -> questions that reached it."""
    called: Shares
    """By task."""
    final: Shares
    """Whose answer was chosen, by task."""
    by_layer: Shares
    """Called, by layer."""


class LayerSummary(Struct, frozen=True, rename={"any_right": "somebody"}):
    """The questions that reached a layer, and those that ended there."""

    layer: int
    reached: int
    calls: int
    ended: int
    right: float | None
    """Accuracy on the questions that ended here."""
    any_right: float | None
    """Share of the questions that ended here for which any called model was right."""


class StopSummary(Struct, frozen=True, rename={"example": "words"}):
    """One kind of reason to stop."""

    kind: str
    n: int
    right: float | None
    calls: float
    """Mean calls."""
    example: str
    """The full text of one such reason."""


def compare_tasks(ours: MethodOutcomes, theirs: MethodOutcomes) -> tuple[TaskComparison, ...]:
    """Compare two methods by task, on the questions graded for both; a score of 0.5 or more counts as right."""
    by_task: dict[str, list[tuple[QuestionOutcomes, QuestionOutcomes]]] = {}
    for key, outcomes in ours.items():
        if key in theirs and mean_score(outcomes) is not None and mean_score(theirs[key]) is not None:
            by_task.setdefault(key[0], []).append((outcomes, theirs[key]))
    return tuple(_compare_task(task, pairs) for task, pairs in sorted(by_task.items()))


def _compare_task(task: str, pairs: Sequence[tuple[QuestionOutcomes, QuestionOutcomes]]) -> TaskComparison:
    helpful = [(a, b) for a, b in pairs if _is_right(a) and not _is_right(b)]
    hurtful = [(a, b) for a, b in pairs if _is_right(b) and not _is_right(a)]
    return TaskComparison(
        task,
        len(pairs),
        _mean([mean_score(a) for a, _ in pairs]),
        _mean([mean_score(b) for _, b in pairs]),
        len(helpful),
        len(hurtful),
        tuple(ComparedExample(_typical(a, True), _typical(b, False)) for a, b in helpful[:MAX_EXAMPLES]),
        tuple(ComparedExample(_typical(a, False), _typical(b, True)) for a, b in hurtful[:MAX_EXAMPLES]),
    )


def _is_right(outcomes: QuestionOutcomes) -> bool:
    return (mean_score(outcomes) or 0) >= 0.5


def _typical(outcomes: QuestionOutcomes, is_right: bool) -> Outcome:
    """Return the first of the seeds whose outcome is as the question is counted."""
    return next((o for o in outcomes if o.right is not None and (o.right >= 0.5) is is_right), outcomes[0])


def measure_calibration(ours: MethodOutcomes) -> Calibration | None:
    """Measure the calibration of graded answers with a stated confidence; None where there is none."""
    outcomes = [(o.confidence, o.right) for o in _all_outcomes(ours)]
    return calibrate_pairs([(c, right) for c, right in outcomes if c is not None and right is not None])


def count_model_shares(ours: MethodOutcomes, models: Sequence[str]) -> ModelShares | None:
    """Count how often each model was called and chosen; None where the outcomes hold no layers."""
    outcomes = [o for o in _all_outcomes(ours) if o.layers]
    if not outcomes:
        return None
    tasks = dict(sorted(Counter(o.task for o in outcomes).items()))
    depth = max(len(o.layers) for o in outcomes)
    layers = {str(i + 1): sum(len(o.layers) > i for o in outcomes) for i in range(depth)}
    called = Counter((m, o.task) for o in outcomes for m in {m for layer in o.layers for m in layer})
    final = Counter((o.choice or NO_CHOICE, o.task) for o in outcomes)
    in_layer = Counter((m, str(i + 1)) for o in outcomes for i, layer in enumerate(o.layers) for m in set(layer))
    calls = Counter(m for o in outcomes for layer in o.layers for m in layer)
    names = dict.fromkeys([*(m for m, _ in calls.most_common()), *models])
    other_choices = [m for m, _ in final if m not in names and m != NO_CHOICE]
    no_choice = [NO_CHOICE] if any(m == NO_CHOICE for m, _ in final) else []
    return ModelShares(
        tuple(names),
        tasks,
        layers,
        _shares(called, tasks, names),
        _shares(final, tasks, dict.fromkeys([*names, *other_choices, *no_choice])),
        _shares(in_layer, layers, names),
    )


def _shares(counts: Counter[tuple[str, str]], totals: Mapping[str, int], models: Iterable[str]) -> Shares:
    return {model: {column: counts[model, column] / n for column, n in totals.items()} for model in models}


def summarize_layers(ours: MethodOutcomes) -> tuple[LayerSummary, ...]:
    """Summarize each layer that any question reached."""
    outcomes = [o for o in _all_outcomes(ours) if o.layers]
    depth = max((len(o.layers) for o in outcomes), default=0)
    return tuple(_summarize_layer(outcomes, i) for i in range(depth))


def _summarize_layer(outcomes: Sequence[Outcome], index: int) -> LayerSummary:
    reached = [o for o in outcomes if len(o.layers) > index]
    ended = [o for o in outcomes if len(o.layers) == index + 1]
    return LayerSummary(
        layer=index + 1,
        reached=len(reached),
        calls=sum(len(o.layers[index]) for o in reached),
        ended=len(ended),
        right=_mean([o.right for o in ended]),
        any_right=_mean([_best_score(o) for o in ended]),
    )


def _best_score(outcome: Outcome) -> float | None:
    """Return the best score of the models called; None where one could not be graded and none was right."""
    scores = [outcome.model_scores.get(m) for layer in outcome.layers for m in layer]
    best = max((s for s in scores if s is not None), default=0.0)
    return best if best == 1 or None not in scores else None


def summarize_stops(ours: MethodOutcomes, models: Sequence[str]) -> tuple[StopSummary, ...]:
    """Summarize the reasons to stop by kind, the most frequent first; rare kinds are summed up as one."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in _all_outcomes(ours):
        if outcome.stop:
            groups.setdefault(_stop_kind(outcome.stop, models), []).append(outcome)
    ranked = sorted(groups.items(), key=lambda group: -len(group[1]))
    rare = [outcome for _, outcomes in ranked[MAX_STOP_KINDS:] for outcome in outcomes]
    shown = [*ranked[:MAX_STOP_KINDS], *([("other reasons", rare)] if rare else [])]
    return tuple(
        StopSummary(
            kind,
            len(outcomes),
            _mean([o.right for o in outcomes]),
            sum(o.calls for o in outcomes) / len(outcomes),
            outcomes[0].stop or "",
        )
        for kind, outcomes in shown
    )


def _stop_kind(text: str, models: Sequence[str]) -> str:
    """Return a stop reason's kind; where it is unknown, the text before the colon without names and numbers."""
    kind = StopReason.parse(text).kind
    if kind is not StopKind.OTHER:
        return kind.value
    words = text.split(":", maxsplit=1)[0]
    for model in sorted(models, key=len, reverse=True):
        words = words.replace(model, "a model")
    return re.sub(r"\d[\d.,]*", "n", words).strip()


def _all_outcomes(ours: MethodOutcomes) -> Iterator[Outcome]:
    return (outcome for outcomes in ours.values() for outcome in outcomes)


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of the known values; None where there is none."""
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known else None
