"""Recorded answers graded anew: which grader a task has, a verdict for each answer, what comes of them for each model.

An empty answer is a failure of the model that was asked: it is graded 0.0. Where there is no answer at all nobody
knows whether the model was asked: its verdict is None. Both count as failed, and neither is hidden in the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from msgspec import Struct, field

from routemoa.core.errors import QueryError
from routemoa.datasets.grading import GraderName, grade, suggest_grader
from routemoa.datasets.records import Record

__all__ = ["GRADERS", "GradedRecord", "GradingResult", "ModelAccuracy", "find_grader", "regrade", "select_records"]

GRADERS: dict[str, GraderName] = {
    "gsm": "numeric",
    "gsm8k": "numeric",
    "math": "math",
    "math500": "math",
    "math-l5": "math",
    "math_l5": "math",
    "mathqa": "choice",
    "math_qa": "choice",
    "mbpp": "code",
    "humaneval": "code",
    "arc": "choice",
    "mmlu": "choice",
    "cmmlu": "choice",
    "race": "choice",
    "winogrande": "choice",
}
"""Task -> its grader; a name stands for all that begin with it and go on with one of / - _ (mmlu_pro/law is mmlu)."""

WORKERS = 2  # as many as processes that compare expressions


class GradedRecord(Struct, frozen=True):
    """One record's verdicts: model -> how right its answer is, in [0, 1], or None."""

    id: str
    task: str
    verdicts: dict[str, float | None]
    grader: GraderName | None = None  # None: nothing to grade it by
    why: str | None = None  # there are no verdicts
    failed: tuple[str, ...] = ()  # models whose answer is empty or absent


class ModelAccuracy(Struct, frozen=True):
    """What came of one model. `agreement` is the share of recorded scores that say the same, out of `compared`."""

    accuracy: float | None
    graded: int
    failed: int
    agreement: float | None
    compared: int


class GradingResult(Struct, frozen=True):
    """All verdicts, and each model's standing; `agreement` as in Standing, over all models together."""

    items: list[GradedRecord]
    models: dict[str, ModelAccuracy]
    agreement: float | None = None
    compared: int = 0
    graders: dict[str, dict[str, int]] = field(default_factory=dict)  # task -> grader -> records


def find_grader(task: str) -> GraderName | None:
    """The grader of a task by its name, or None."""
    name = task.casefold()
    fits = [n for n in GRADERS if name == n or (name.startswith(n) and name[len(n)] in "/-_")]
    return GRADERS[max(fits, key=len)] if fits else None


def select_records(records: Sequence[Record], task: str | None) -> tuple[list[Record], GraderName | None]:
    """The records that `task` names, and the grader it gives them; None leaves it to each record.

    A task that some records have picks those ("mmlu_pro" also "mmlu_pro/law"). One that none has, but that is known,
    says what all of them are.

    Raises:
        QueryError: no record has the task, and no grader is known for it.
    """
    if task is None:
        return list(records), None
    picked = [r for r in records if r.task == task or r.task.startswith(f"{task}/")]
    kind = find_grader(task)
    if picked:
        return picked, kind
    if kind is None:
        there = ", ".join(dict.fromkeys(r.task for r in records)) or "none"
        raise QueryError(f"--task: no record has the task '{task}'; there are: {there}; known: {', '.join(GRADERS)}")
    return list(records), kind


def regrade(
    records: Sequence[Record], kind: GraderName | None, step: Callable[[], None] = lambda: None
) -> GradingResult:
    """Grade every recorded answer; `step` is called after each record.

    Args:
        records: with what the models wrote in `responses`, and what was expected in `reference`.
        kind: the grader of all of them; None: each task's own, or the one that fits the reference.
        step: told that one record is done.
    """
    workers = ThreadPoolExecutor(WORKERS)
    items = []
    try:
        for item in workers.map(lambda r: _graded(r, kind), records):
            items.append(item)
            step()
    finally:
        workers.shutdown(cancel_futures=True)
    return _summed(records, items)


def _graded(record: Record, kind: GraderName | None) -> GradedRecord:
    given = record.responses or {}
    models = tuple(dict.fromkeys((*record.scores, *given)))
    said = {m: given.get(m) for m in models}
    failed = tuple(m for m in models if not (said[m] or "").strip())
    nothing: dict[str, float | None] = dict.fromkeys(models)
    if record.reference is None or not record.reference.strip():
        return GradedRecord(record.id, record.task, nothing, None, "no reference", failed)
    if not record.responses:
        return GradedRecord(record.id, record.task, nothing, None, "no responses", failed)
    kind = kind or find_grader(record.task) or suggest_grader(record.reference)
    if grade("", record.reference, kind) is None:
        return GradedRecord(record.id, record.task, nothing, None, f"its reference cannot be graded as {kind}", failed)
    verdicts = {
        m: None if text is None else 0.0 if m in failed else grade(text, record.reference, kind)
        for m, text in said.items()
    }
    return GradedRecord(record.id, record.task, verdicts, kind, None, failed)


def _summed(records: Sequence[Record], items: list[GradedRecord]) -> GradingResult:
    verdicts: dict[str, list[float]] = {}
    same: Counter[str] = Counter()
    compared: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    graders: dict[str, Counter[str]] = {}
    for record, item in zip(records, items, strict=True):
        graders.setdefault(item.task, Counter())[item.grader or "not graded"] += 1
        failed.update(item.failed)
        for model, verdict in item.verdicts.items():
            mine = verdicts.setdefault(model, [])
            score = record.scores.get(model)
            if verdict is None:
                continue
            mine.append(verdict)
            if score is not None:
                compared[model] += 1
                same[model] += abs(verdict - score) < 0.5
    models = {
        model: ModelAccuracy(
            sum(mine) / len(mine) if mine else None,
            len(mine),
            failed[model],
            same[model] / compared[model] if compared[model] else None,
            compared[model],
        )
        for model, mine in verdicts.items()
    }
    agreement = same.total() / compared.total() if compared.total() else None
    return GradingResult(items, models, agreement, compared.total(), {t: dict(c) for t, c in graders.items()})
