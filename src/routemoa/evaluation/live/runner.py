"""A live run: every method answers every question, each outcome written down as it comes.

The run can be taken up again in its folder: outcomes that are there are not made again, and of a question that was
interrupted no call is paid for twice (routemoa.evaluation.live.call_cache).
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from routemoa.core.errors import AllModelsFailed, BudgetExceeded
from routemoa.core.protocols import Method
from routemoa.core.trace import Answer, Trace
from routemoa.core.types import ModelSpec, Query, Usage, add_optional
from routemoa.datasets.collector import gather_or_cancel
from routemoa.datasets.jsonl import Appender, read_lines
from routemoa.datasets.questions import Question
from routemoa.evaluation.live.call_cache import CURRENT_QUESTION, CallCache, QuestionRun
from routemoa.evaluation.live.pairwise import compare_answers
from routemoa.evaluation.outcomes import OUTCOMES, Outcome
from routemoa.routing.decision import latest_answers

__all__ = ["TRACES", "TraceLine", "WorkUnit", "plan_units", "run_units"]

TRACES = "traces.jsonl"


class WorkUnit(Struct, frozen=True):
    """One method at one question."""

    method: str
    question: Question


class TraceLine(Struct, frozen=True):
    """An answer with its trace as `routemoa judge replay` reads it, and what it was to be."""

    method: str
    task: str
    id: str
    text: str
    trace: Trace
    reference: str | None = None
    grader: str | None = None


def plan_units(
    questions: Sequence[Question], methods: Sequence[str], answered: set[tuple[str, str, str]]
) -> list[WorkUnit]:
    """What is left, question by question; who begins rotates, so that whatever else goes on falls on all methods."""
    turns = [(q, [*methods[i % len(methods) :], *methods[: i % len(methods)]]) for i, q in enumerate(questions)]
    return [WorkUnit(m, q) for q, order in turns for m in order if (m, q.task, q.id) not in answered]


class LiveRun(Struct, frozen=True):
    """What a run needs besides its units: built methods, the till they call through, and who judges."""

    methods: Mapping[str, Method]
    call_cache: CallCache
    seed: int | None = None
    judge: ModelSpec | None = None


async def run_units(
    units: Sequence[WorkUnit],
    live: LiveRun,
    folder: str | Path,
    *,
    concurrency: int = 4,
    on_outcome: Callable[[Outcome], None] = lambda _: None,
) -> None:
    """Answer what is left, `concurrency` units at a time.

    Raises:
        OverBudget: the spending limit is reached; what is there is kept.
        RecordsError: an outcome could not be written.
    """
    left = iter(units)  # shared: whoever is free takes the next one
    with Appender(Path(folder) / OUTCOMES) as out, Appender(Path(folder) / TRACES) as traces:
        written = _written(Path(folder) / TRACES)
        over: list[BudgetExceeded] = []

        async def work(mine: Iterator[WorkUnit]) -> None:
            for unit in mine:
                if over:
                    return
                try:
                    outcome, answer = await answer_question(unit, live)
                except BudgetExceeded as e:  # what the others have under way goes on to its end: it is paid for
                    over.append(e)
                    return
                q = unit.question
                if answer is not None and (unit.method, q.task, q.id) not in written:
                    traces.write(TraceLine(unit.method, q.task, q.id, answer.text, answer.trace, q.reference, q.grader))
                out.write(outcome)
                on_outcome(outcome)

        tasks = [asyncio.create_task(work(left)) for _ in range(min(concurrency, len(units)))]
        await gather_or_cancel(tasks)
        if over:
            raise over[0]


async def answer_question(unit: WorkUnit, live: LiveRun) -> tuple[Outcome, Answer | None]:
    """One method at one question, graded."""
    question = unit.question
    sitting = QuestionRun(unit.method, question.task, question.id)
    CURRENT_QUESTION.set(sitting)
    parameters: dict[str, Any] = {}
    if live.seed is not None:  # of its own for each question: one for all would show answers in one order everywhere
        parameters["seed"] = zlib.crc32(f"{live.seed}:{question.task}:{question.id}".encode()) & 0x7FFFFFFF
    query = msgspec.structs.replace(Query.from_text(question.text), parameters=parameters)
    try:
        answer = await live.methods[unit.method].answer(query)
    except AllModelsFailed as e:
        return _failed(unit, e, sum_calls(sitting)), None
    took = sum_calls(sitting)
    right = await _grade(question, answer.text, live)
    # A judge costs calls: it reads the answer alone. Other graders tell for each proposal, too.
    each = () if question.grader == "judge" else latest_answers(answer.trace)
    known = {p.model: right if p.text == answer.text else await _grade(question, p.text, live) for p in each}
    return _outcome(unit, answer, right, known, took), answer


class QuestionTotals(Struct, frozen=True):
    """What a question took: its own calls, so that one made for all questions counts once."""

    calls: int
    usage: Usage
    cost: float | None
    seconds: float


def sum_calls(sitting: QuestionRun) -> QuestionTotals:
    """What a sitting has come to so far."""
    usage: Usage = Usage(0, 0, 0, 0)
    cost: float | None = 0.0
    for paid in sitting.calls:
        usage, cost = usage + paid.usage, add_optional(cost, paid.cost)
    return QuestionTotals(len(sitting.calls), usage, cost, sitting.elapsed_seconds())


async def _grade(question: Question, text: str, live: LiveRun) -> float | None:
    """In a thread: running unit tests or proving an equation takes its time."""
    if question.grader == "judge" and live.judge is not None and question.reference:
        return await compare_answers(question.query, text, question.reference, live.judge, live.call_cache)
    return await asyncio.to_thread(question.grade, text)


def _outcome(
    unit: WorkUnit, answer: Answer, right: float | None, each: dict[str, float | None], took: QuestionTotals
) -> Outcome:
    trace, q = answer.trace, unit.question
    last = trace.layers[-1].scores if trace.layers else {}
    choice = trace.choice or (trace.layers[0].selected[0] if trace.calls == 1 and trace.layers else None)
    empty = "the answer is empty" if not answer.text.strip() else None
    return Outcome(
        unit.method,
        q.task,
        q.id,
        0.0 if empty else right,
        failure=empty,
        calls=took.calls,
        prompt_tokens=took.usage.prompt_tokens,
        completion_tokens=took.usage.completion_tokens,
        cost=took.cost,
        seconds=took.seconds,
        query=q.query,
        reference=q.reference,
        text=answer.text,
        layers=tuple(tuple(p.model for p in layer.proposals) for layer in trace.layers),
        choice=choice,
        aggregator=trace.aggregator,
        confidence=last.get(choice) if choice else None,
        stop=trace.stop_reason,
        prior=trace.prior,
        model_scores=each,
    )


def _failed(unit: WorkUnit, error: AllModelsFailed, took: QuestionTotals) -> Outcome:
    """Nobody answered: wrong for whoever asked, and in a column of its own."""
    q = unit.question
    return Outcome(
        unit.method, q.task, q.id, 0.0, str(error), took.calls, took.usage.prompt_tokens, took.usage.completion_tokens,
        took.cost, took.seconds, query=q.query, reference=q.reference,
    )  # fmt: skip


def _written(path: Path) -> set[tuple[str, str, str]]:
    """Whose traces are there already: a run may have ended between a trace and its outcome."""
    return {
        (k["method"], k["task"], k["id"])
        for _, line in read_lines(path, lambda _: None)
        if (k := msgspec.json.decode(line))
    }
