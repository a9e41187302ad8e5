"""Grade recorded answers again: pick each task's grader, score every answer, and summarize by model.

An empty answer is a failure of the model: it scores 0.0. Where there is no answer at all, it is unknown whether the
model was called: its verdict is None. Both count as failed and are reported apart.
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
"""Task -> its grader. A name also matches longer names that continue with one of / - _ (mmlu_pro/law is mmlu)."""

WORKERS = 2  # as many as the processes that compare mathematical expressions


class GradedRecord(Struct, frozen=True):
    """One record with a verdict for each model."""

    id: str
    task: str
    verdicts: dict[str, float | None]
    """Model -> score of its answer in [0, 1]; None where it could not be graded."""
    grader: GraderName | None = None
    """None where the record cannot be graded."""
    why: str | None = None
    """Why there are no verdicts."""
    failed: tuple[str, ...] = ()
    """Models whose answer is empty or absent."""


class ModelAccuracy(Struct, frozen=True):
    """One model's results over all records."""

    accuracy: float | None
    graded: int
    failed: int
    agreement: float | None
    """Share of the `compared` recorded scores that agree with the new ones."""
    compared: int


class GradingResult(Struct, frozen=True):
    """All verdicts and each model's results; `agreement` is over all models together."""

    items: list[GradedRecord]
    models: dict[str, ModelAccuracy]
    agreement: float | None = None
    compared: int = 0
    graders: dict[str, dict[str, int]] = field(default_factory=dict)
    """Task -> grader -> number of records."""


def find_grader(task: str) -> GraderName | None:
    """Return the grader for a task's name, or None where there is none."""
    name = task.casefold()
    matches = [n for n in GRADERS if name == n or (name.startswith(n) and name[len(n)] in "/-_")]
    return GRADERS[max(matches, key=len)] if matches else None


def select_records(records: Sequence[Record], task: str | None) -> tuple[list[Record], GraderName | None]:
    """Return the records of `task` and the grader for them; without a task all records, each with its own grader.

    A task that some records have selects those ("mmlu_pro" also "mmlu_pro/law"). A known task that no record has
    names the grader of all of them.

    Raises:
        QueryError: no record has the task, and no grader is known for it.
    """
    if task is None:
        return list(records), None
    selected = [r for r in records if r.task == task or r.task.startswith(f"{task}/")]
    kind = find_grader(task)
    if selected:
        return selected, kind
    if kind is None:
        present = ", ".join(dict.fromkeys(r.task for r in records)) or "none"
        raise QueryError(f"--task: no record has the task '{task}'; there are: {present}; known: {', '.join(GRADERS)}")
    return list(records), kind


def regrade(
    records: Sequence[Record], kind: GraderName | None, on_record: Callable[[], None] = lambda: None
) -> GradingResult:
    """Grade every recorded answer.

    Args:
        records: with the models' answers in `responses` and the expected one in `reference`.
        kind: the grader of all records; None takes each task's own, else one that fits the reference.
        on_record: called after each record.
    """
    workers = ThreadPoolExecutor(WORKERS)
    items = []
    try:
        for item in workers.map(lambda record: _grade_record(record, kind), records):
            items.append(item)
            on_record()
    finally:
        workers.shutdown(cancel_futures=True)
    return _summarize(records, items)


def _grade_record(record: Record, kind: GraderName | None) -> GradedRecord:
    responses = record.responses or {}
    answers = {model: responses.get(model) for model in dict.fromkeys((*record.scores, *responses))}
    failed = tuple(model for model, text in answers.items() if not (text or "").strip())

    def ungraded(why: str) -> GradedRecord:
        return GradedRecord(record.id, record.task, dict.fromkeys(answers), None, why, failed)

    if record.reference is None or not record.reference.strip():
        return ungraded("no reference")
    if not record.responses:
        return ungraded("no responses")
    kind = kind or find_grader(record.task) or suggest_grader(record.reference, record.query)
    if grade("", record.reference, kind) is None:
        return ungraded(f"its reference cannot be graded as {kind}")
    verdicts: dict[str, float | None] = {}
    for model, text in answers.items():
        if text is None:
            verdicts[model] = None
        else:
            verdicts[model] = 0.0 if model in failed else grade(text, record.reference, kind, record.query)
    found = {verdicts[model] for model, text in answers.items() if text is not None}
    if found == {None}:  # a letter is not compared with the text of an option
        return ungraded("its reference names no letter and its question lists no options, but answers give letters")
    return GradedRecord(record.id, record.task, verdicts, kind, None, failed)


def _summarize(records: Sequence[Record], items: list[GradedRecord]) -> GradingResult:
    verdicts: dict[str, list[float]] = {}
    agreeing: Counter[str] = Counter()
    compared: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    graders: dict[str, Counter[str]] = {}
    for record, item in zip(records, items, strict=True):
        graders.setdefault(item.task, Counter())[item.grader or "not graded"] += 1
        failed.update(item.failed)
        for model, verdict in item.verdicts.items():
            graded = verdicts.setdefault(model, [])
            score = record.scores.get(model)
            if verdict is None:
                continue
            graded.append(verdict)
            if score is not None:
                compared[model] += 1
                agreeing[model] += abs(verdict - score) < 0.5
    models = {
        model: ModelAccuracy(
            sum(graded) / len(graded) if graded else None,
            len(graded),
            failed[model],
            agreeing[model] / compared[model] if compared[model] else None,
            compared[model],
        )
        for model, graded in verdicts.items()
    }
    agreement = agreeing.total() / compared.total() if compared.total() else None
    return GradingResult(items, models, agreement, compared.total(), {t: dict(c) for t, c in graders.items()})
