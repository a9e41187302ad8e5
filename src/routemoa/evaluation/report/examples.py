"""Where routing helped and hurt, with the questions themselves to open."""

from __future__ import annotations

from collections.abc import Sequence

from routemoa.evaluation.outcomes import Outcome
from routemoa.evaluation.report import charts
from routemoa.evaluation.report.figures import OURS, Report
from routemoa.evaluation.report.findings import ComparedExample, TaskComparison
from routemoa.evaluation.report.markup import Html, details, figure, join, percent, pre, table, tag
from routemoa.evaluation.report.svg import shorten

__all__ = ["helped_and_hurt"]

PAPER = 3  # examples of a kind that are printed; page.css hides the others
QUERY, TEXT = 600, 900  # characters that are shown of a question and of an answer


def helped_and_hurt(page: Report) -> Html:
    """Counts by task, and examples of either kind."""
    against = page.baseline
    if against is None or not page.tasks:
        return tag("p", "Unknown: no question was graded for both routemoa and a single model.")
    good, bad = sum(t.helped for t in page.tasks), sum(t.hurt for t in page.tasks)
    said = (
        f"{good:,} questions that only {OURS} got right, {bad:,} that only {against} got right, of "
        f"{sum(t.n for t in page.tasks):,} graded for both."
    )
    rows = [
        [t.task, f"{t.n:,}", percent(t.ours), percent(t.theirs), f"{t.helped:,}", f"{t.hurt:,}"] for t in page.tasks
    ]
    heads = ["task", "questions", f"{OURS} right", f"{against} right", "helped", "hurt"]
    below = table("Helped and hurt, by task", heads, [("", rows)])
    chart = charts.draw_tasks("helped-chart", page.tasks, against) if good or bad else None
    shown = figure(chart, below) if chart else below
    apart = [t for t in page.tasks if t.helped or t.hurt]
    opened = [tag("h3", "Questions to open"), *(_task(t) for t in apart)] if apart else []
    return join([tag("p", said), shown, *opened])


def _task(task: TaskComparison) -> Html:
    count = f"{task.task}: helped {task.helped:,}, hurt {task.hurt:,}"
    kinds = (("helped", "good", task.helped, task.helpful), ("hurt", "bad", task.hurt, task.hurtful))
    return details(count, *(_kind(*kind) for kind in kinds if kind[3]), _class="task")


def _kind(word: str, look: str, count: int, examples: Sequence[ComparedExample]) -> Html:
    some = f" (the first {len(examples)} of {count:,})" if len(examples) < count else ""
    paper = [tag("p", f"On paper the first {PAPER} of {len(examples)} are shown.", _class="paper")]
    return tag(
        "div",
        tag("p", tag("span", word.capitalize(), _class=look), some),
        *(paper if len(examples) > PAPER else []),
        *(_case(e, word) for e in examples),
    )


def _case(example: ComparedExample, word: str) -> Html:
    of = example.ours
    name = f"{word}: {shorten(' '.join(of.query.split()) or of.id, 110)}"
    return details(
        name,
        tag("p", f"{of.task}, {of.id}", _class="soft"),
        *([pre(of.query, QUERY)] if of.query else []),
        *([tag("p", "Reference: ", tag("code", shorten(of.reference, 300)))] if of.reference is not None else []),
        tag("div", _side(example.ours), _side(example.theirs), _class="sides"),
        _class="case",
    )


def _side(o: Outcome) -> Html:
    good = (o.right or 0) >= 0.5
    verdict = tag("span", "right" if good else "failed" if o.failure else "wrong", _class="good" if good else "bad")
    called = " → ".join(" + ".join(layer) for layer in o.layers)
    facts = [
        f"called {called}" if called else "",
        f"chose {o.choice}" if o.choice else "",
        f"written by {o.aggregator}" if o.aggregator else "",
        f"confidence {o.confidence:.2f}" if o.confidence is not None else "",
        f"stopped: {o.stop}" if o.stop else "",
    ]
    said = tag("p", f"Failure: {o.failure}") if o.failure else pre(o.text, TEXT)
    return tag("div", tag("p", tag("strong", o.method), ": ", verdict), said, _facts([f for f in facts if f]))


def _facts(facts: Sequence[str]) -> Html:
    return tag("p", shorten("; ".join(facts), 400), _class="soft") if facts else Html("")
