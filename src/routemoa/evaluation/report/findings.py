"""What the outcomes of one method say: where it helped and hurt, whom it chose, why it stopped, what a layer added."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from routemoa.evaluation.outcomes import Outcome
from routemoa.evaluation.report.table import Case, mean_score

__all__ = [
    "NO_CHOICE",
    "Calibration",
    "ComparedExample",
    "ConfidenceBin",
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

EXAMPLES, BINS, KINDS = 10, 10, 12
NO_CHOICE = "(nobody)"
MethodCases = Mapping[tuple[str, str], Case]
"""The questions of one method."""
Shares = dict[str, dict[str, float]]
"""Model -> column -> share of questions."""


class ComparedExample(Struct, frozen=True):
    """One question that two methods answered differently well."""

    ours: Outcome
    theirs: Outcome


class TaskComparison(Struct, frozen=True):
    """One task: how often each was right, and the questions that only one of them got right."""

    task: str
    n: int
    ours: float | None
    theirs: float | None
    helped: int
    hurt: int
    helpful: tuple[ComparedExample, ...]
    hurtful: tuple[ComparedExample, ...]


class ConfidenceBin(Struct, frozen=True):
    """Answers that were given about the same confidence."""

    low: float
    high: float
    n: int
    confidence: float
    right: float
    ci95: tuple[float, float]


class Calibration(Struct, frozen=True):
    """How well the stated probabilities hold; `ece` is the mean distance between the stated and the true share."""

    n: int
    ece: float
    brier: float
    bins: tuple[ConfidenceBin, ...]


class ModelShares(Struct, frozen=True, rename={"by_layer": "layered"}):
    """Shares of questions, model -> column: `called` and `final` by task, `layers` by the layer's number."""

    models: tuple[str, ...]
    tasks: dict[str, int]
    layers: dict[str, int]
    called: dict[str, dict[str, float]]
    final: dict[str, dict[str, float]]
    by_layer: dict[str, dict[str, float]]


class LayerSummary(Struct, frozen=True, rename={"any_right": "somebody"}):
    """What a layer added: of the questions that ended there, the share that came right, and where somebody was."""

    layer: int
    reached: int
    calls: int
    ended: int
    right: float | None
    any_right: float | None


class StopSummary(Struct, frozen=True, rename={"example": "words"}):
    """One kind of reason to stop, with the words of one case."""

    kind: str
    n: int
    right: float | None
    calls: float
    example: str


def compare_tasks(ours: MethodCases, theirs: MethodCases) -> tuple[TaskComparison, ...]:
    """Only questions of both that could be graded; an answer that is at least half right counts as right."""
    found: dict[str, list[tuple[Case, Case]]] = {}
    for key, case in ours.items():
        if key in theirs and mean_score(case) is not None and mean_score(theirs[key]) is not None:
            found.setdefault(key[0], []).append((case, theirs[key]))
    return tuple(_task(task, pairs) for task, pairs in sorted(found.items()))


def _task(task: str, pairs: Sequence[tuple[Case, Case]]) -> TaskComparison:
    sides = [((mean_score(a) or 0) >= 0.5, (mean_score(b) or 0) >= 0.5) for a, b in pairs]
    better = [p for p, (a, b) in zip(pairs, sides, strict=True) if a and not b]
    worse = [p for p, (a, b) in zip(pairs, sides, strict=True) if b and not a]
    return TaskComparison(
        task,
        len(pairs),
        _mean([mean_score(a) for a, _ in pairs]),
        _mean([mean_score(b) for _, b in pairs]),
        len(better),
        len(worse),
        tuple(ComparedExample(_typical(a, True), _typical(b, False)) for a, b in better[:EXAMPLES]),
        tuple(ComparedExample(_typical(a, False), _typical(b, True)) for a, b in worse[:EXAMPLES]),
    )


def _typical(case: Case, right: bool) -> Outcome:
    """Of the seeds, the first that shows what the question is counted for."""
    return next((o for o in case if o.right is not None and (o.right >= 0.5) is right), case[0])


def measure_calibration(ours: MethodCases) -> Calibration | None:
    """Of the answers with a confidence that could be graded; None when there is none."""
    said = [(o.confidence, o.right) for o in _every(ours) if o.confidence is not None and o.right is not None]
    if not said:
        return None
    groups: dict[int, list[tuple[float, float]]] = {}
    for confidence, right in said:
        groups.setdefault(max(0, min(BINS - 1, int(confidence * BINS))), []).append((confidence, right))
    bins = tuple(_bin(b, groups[b]) for b in sorted(groups))
    ece = sum(b.n * abs(b.confidence - b.right) for b in bins) / len(said)
    return Calibration(len(said), ece, sum((c - r) ** 2 for c, r in said) / len(said), bins)


def _bin(number: int, said: Sequence[tuple[float, float]]) -> ConfidenceBin:
    n, right = len(said), sum(r for _, r in said) / len(said)
    return ConfidenceBin(number / BINS, (number + 1) / BINS, n, sum(c for c, _ in said) / n, right, _wilson(right, n))


def _wilson(share: float, n: int, z: float = 1.96) -> tuple[float, float]:
    middle, scale = share + z * z / (2 * n), 1 + z * z / n
    error = z * math.sqrt(max(0.0, share * (1 - share)) / n + z * z / (4 * n * n))
    return max(0.0, (middle - error) / scale), min(1.0, (middle + error) / scale)


def count_model_shares(ours: MethodCases, models: Sequence[str]) -> ModelShares | None:
    """Who was called and whose answer stood; None where the outcomes do not say."""
    every = [o for o in _every(ours) if o.layers]
    if not every:
        return None
    per_task = Counter(o.task for o in every)
    called = Counter((m, o.task) for o in every for m in {m for layer in o.layers for m in layer})
    final = Counter((o.choice or NO_CHOICE, o.task) for o in every)
    depth = max(len(o.layers) for o in every)
    in_layer = Counter((m, str(i + 1)) for o in every for i, layer in enumerate(o.layers) for m in set(layer))
    reached = {str(i + 1): sum(len(o.layers) > i for o in every) for i in range(depth)}
    calls = Counter(m for o in every for layer in o.layers for m in layer)
    known = dict.fromkeys([*(m for m, _ in calls.most_common()), *models])

    def shares(counts: Counter[tuple[str, str]], of: Mapping[str, int], names: Iterable[str]) -> Shares:
        return {m: {column: counts[m, column] / n for column, n in of.items()} for m in names}

    nobody = [NO_CHOICE] if any(m == NO_CHOICE for m, _ in final) else []
    beside = [m for m, _ in final if m not in known and m != NO_CHOICE]
    tasks_of = dict(sorted(per_task.items()))
    return ModelShares(
        tuple(known),
        tasks_of,
        reached,
        shares(called, tasks_of, known),
        shares(final, tasks_of, dict.fromkeys([*known, *beside, *nobody])),
        shares(in_layer, reached, known),
    )


def summarize_layers(ours: MethodCases) -> tuple[LayerSummary, ...]:
    """A line for each layer that any question reached."""
    every = [o for o in _every(ours) if o.layers]
    depth = max((len(o.layers) for o in every), default=0)
    found = []
    for i in range(depth):
        reached, ended = [o for o in every if len(o.layers) > i], [o for o in every if len(o.layers) == i + 1]
        calls = sum(len(o.layers[i]) for o in reached)
        somebody = [_somebody(o) for o in ended]
        found.append(
            LayerSummary(i + 1, len(reached), calls, len(ended), _mean([o.right for o in ended]), _mean(somebody))
        )
    return tuple(found)


def _somebody(outcome: Outcome) -> float | None:
    """How right the best of the models called was; None when one of them could not be graded and none was right."""
    grades = [outcome.model_scores.get(m) for layer in outcome.layers for m in layer]
    best = max((g for g in grades if g is not None), default=0.0)
    return best if best == 1 or None not in grades else None


def summarize_stops(ours: MethodCases, models: Sequence[str]) -> tuple[StopSummary, ...]:
    """The reasons to stop, the most frequent first: the words before the colon, whoever they name and count."""
    groups: dict[str, list[Outcome]] = {}
    for o in _every(ours):
        if o.stop:
            groups.setdefault(_kind(o.stop, models), []).append(o)
    ranked = sorted(groups.items(), key=lambda g: -len(g[1]))
    kept, rest = ranked[:KINDS], [o for _, of in ranked[KINDS:] for o in of]
    return tuple(
        StopSummary(kind, len(of), _mean([o.right for o in of]), sum(o.calls for o in of) / len(of), of[0].stop or "")
        for kind, of in [*kept, *([("other reasons", rest)] if rest else [])]
    )


def _kind(words: str, models: Sequence[str]) -> str:
    kind = words.split(":", maxsplit=1)[0]
    for model in sorted(models, key=len, reverse=True):
        kind = kind.replace(model, "a model")
    return re.sub(r"\d[\d.,]*", "n", kind).strip()


def _every(ours: MethodCases) -> Iterator[Outcome]:
    return (o for case in ours.values() for o in case)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known else None
