"""The view of differences by task, with example questions and answers."""

from __future__ import annotations

from routemoa.evaluation.formatting import format_percent, shorten
from routemoa.evaluation.outcomes import Outcome
from routemoa.evaluation.report.charts import draw_tasks
from routemoa.evaluation.report.figures import Report
from routemoa.evaluation.report.findings import ComparedExample, TaskComparison
from routemoa.evaluation.report.headline import OURS
from routemoa.evaluation.report.views import (
    AnswerView,
    ExamplesView,
    ExampleView,
    Figure,
    TasksView,
    TaskView,
    build_table,
)

__all__ = ["view_tasks"]

PRINTED_EXAMPLES = 3
"""Examples of a kind that are printed; templates/page.css hides the others."""
MAX_QUERY, MAX_TEXT = 600, 900
"""Characters shown of a question and of an answer."""


def view_tasks(report: Report) -> TasksView | None:
    """Return counts by task and examples; None where no question was graded for both methods."""
    baseline = report.baseline
    if baseline is None or not report.tasks:
        return None
    helped, hurt = sum(t.helped for t in report.tasks), sum(t.hurt for t in report.tasks)
    headings = ["task", "questions", f"{OURS} right", f"{baseline} right", "helped", "hurt"]
    rows = [
        [t.task, f"{t.n:,}", format_percent(t.ours), format_percent(t.theirs), f"{t.helped:,}", f"{t.hurt:,}"]
        for t in report.tasks
    ]
    chart = draw_tasks("helped-chart", report.tasks, baseline) if helped or hurt else None
    return TasksView(
        baseline,
        helped,
        hurt,
        sum(t.n for t in report.tasks),
        Figure(chart, build_table("Questions helped and hurt, by task", headings, rows)),
        tuple(_view_task(t) for t in report.tasks if t.helped or t.hurt),
        PRINTED_EXAMPLES,
    )


def _view_task(task: TaskComparison) -> TaskView:
    kinds = [
        ExamplesView("helped", task.helped, tuple(_view_example(e, "helped") for e in task.helpful)),
        ExamplesView("hurt", task.hurt, tuple(_view_example(e, "hurt") for e in task.hurtful)),
    ]
    summary = f"{task.task}: helped {task.helped:,}, hurt {task.hurt:,}"
    return TaskView(summary, tuple(kind for kind in kinds if kind.examples))


def _view_example(example: ComparedExample, kind: str) -> ExampleView:
    outcome = example.ours
    return ExampleView(
        summary=f"{kind}: {shorten(' '.join(outcome.query.split()) or outcome.id, 110)}",
        source=f"{outcome.task}, {outcome.id}",
        query=_cut(outcome.query, MAX_QUERY),
        reference=None if outcome.reference is None else shorten(outcome.reference, 300),
        answers=(_view_answer(example.ours), _view_answer(example.theirs)),
    )


def _view_answer(outcome: Outcome) -> AnswerView:
    is_right = (outcome.right or 0) >= 0.5
    return AnswerView(
        outcome.method,
        "right" if is_right else "failed" if outcome.failure else "wrong",
        outcome.failure,
        None if outcome.text is None else _cut(outcome.text, MAX_TEXT) or "(empty)",
        shorten("; ".join(_facts(outcome)), 400),
    )


def _facts(outcome: Outcome) -> list[str]:
    called = " → ".join(" + ".join(layer) for layer in outcome.layers)
    facts = [
        f"called {called}" if called else "",
        f"chose {outcome.choice}" if outcome.choice else "",
        f"written by {outcome.aggregator}" if outcome.aggregator else "",
        f"confidence {outcome.confidence:.2f}" if outcome.confidence is not None else "",
        f"stopped: {outcome.stop}" if outcome.stop else "",
    ]
    return [fact for fact in facts if fact]


def _cut(text: str, length: int) -> str:
    return f"{text[:length]}\n… ({len(text) - length:,} more characters)" if len(text) > length else text
