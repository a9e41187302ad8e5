"""Run methods live: every method answers every question, and each outcome is written as soon as it is known.

An interrupted run can be resumed in its folder: finished outcomes are kept, and calls of an unfinished question are not
paid for again (routemoa.evaluation.live.call_cache).
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from routemoa.core.errors import AllModelsFailed, BudgetExceeded
from routemoa.core.protocols import Method
from routemoa.core.trace import Answer, Trace
from routemoa.core.types import ModelSpec, Query
from routemoa.core.usage import Usage, add_optional
from routemoa.datasets.appender import Appender
from routemoa.datasets.collector import gather_or_cancel
from routemoa.datasets.jsonl import read_lines
from routemoa.datasets.questions import Question
from routemoa.evaluation.live.call_cache import CURRENT_QUESTION, CallCache, QuestionRun
from routemoa.evaluation.live.pairwise import compare_answers
from routemoa.evaluation.outcomes import OUTCOMES, Outcome
from routemoa.routing.decision import latest_answers

__all__ = [
    "TRACES",
    "AnsweredUnit",
    "LiveRun",
    "TraceLine",
    "UnitKey",
    "WorkUnit",
    "answer_question",
    "parse_unit_key",
    "plan_units",
    "run_units",
]

TRACES = "traces.jsonl"

UnitKey = tuple[str, str, str]
"""Method, task and id."""


class WorkUnit(Struct, frozen=True):
    """One method on one question."""

    method: str
    question: Question

    @property
    def key(self) -> UnitKey:
        """Method, task and id, which together are unique in a run."""
        return self.method, self.question.task, self.question.id


class TraceLine(Struct, frozen=True):
    """A line of traces.jsonl: an answer with its trace, as `routemoa judge replay` reads it, and the reference."""

    method: str
    task: str
    id: str
    text: str
    trace: Trace
    reference: str | None = None
    grader: str | None = None


class AnsweredUnit(NamedTuple):
    """What came of a unit."""

    outcome: Outcome
    answer: Answer | None = None
    """None where all models failed."""


class LiveRun(Struct, frozen=True):
    """What the units of a run share."""

    methods: Mapping[str, Method]
    call_cache: CallCache
    """The client of the methods and the judge."""
    seed: int | None = None
    judge: ModelSpec | None = None
    """Grades the questions whose grader is "judge"."""


class QuestionTotals(Struct, frozen=True):
    """What a question took. A call that a method makes once for all questions counts for the first one only."""

    calls: int
    usage: Usage
    cost: float | None
    """Dollars."""
    seconds: float


def plan_units(questions: Sequence[Question], methods: Sequence[str], answered: Collection[UnitKey]) -> list[WorkUnit]:
    """Return the units left to run, question by question.

    The method that goes first rotates, so that other load on the machine affects all methods alike.
    """
    units: list[WorkUnit] = []
    for i, question in enumerate(questions):
        first = i % len(methods)
        units += [WorkUnit(method, question) for method in (*methods[first:], *methods[:first])]
    return [unit for unit in units if unit.key not in answered]


async def run_units(
    units: Sequence[WorkUnit],
    answer_unit: Callable[[WorkUnit], Awaitable[AnsweredUnit]],
    folder: str | Path,
    *,
    concurrency: int = 4,
    on_outcome: Callable[[Outcome], None] = lambda _: None,
) -> None:
    """Run the units, `concurrency` at a time, and append their outcomes and traces to the folder's files.

    Args:
        units: as planned.
        answer_unit: runs one of them, such as `answer_question`.
        folder: takes outcomes.jsonl and traces.jsonl.
        concurrency: units at a time.
        on_outcome: called with each outcome once it is written.

    Raises:
        BudgetExceeded: the spending limit is reached; finished outcomes are kept.
        RecordsError: an outcome could not be written.
    """
    queue = iter(units)  # shared by the workers
    with Appender(Path(folder) / OUTCOMES) as outcomes, Appender(Path(folder) / TRACES) as traces:
        traced = _read_trace_keys(Path(folder) / TRACES)
        exceeded: list[BudgetExceeded] = []

        async def work(queue: Iterator[WorkUnit]) -> None:
            for unit in queue:
                if exceeded:
                    return
                try:
                    outcome, answer = await answer_unit(unit)
                except BudgetExceeded as e:  # the other workers finish their units, which are paid for
                    exceeded.append(e)
                    return
                if answer is not None and unit.key not in traced:
                    traces.write(_trace_line(unit, answer))
                outcomes.write(outcome)
                on_outcome(outcome)

        await gather_or_cancel([asyncio.create_task(work(queue)) for _ in range(min(concurrency, len(units)))])
        if exceeded:
            raise exceeded[0]


async def answer_question(unit: WorkUnit, live: LiveRun) -> AnsweredUnit:
    """Run one method on one question and grade its answer. Raises BudgetExceeded."""
    question = unit.question
    question_run = QuestionRun(unit.method, question.task, question.id)
    CURRENT_QUESTION.set(question_run)
    parameters: dict[str, Any] = {}
    if live.seed is not None:  # a seed per question: one for all would show answers in the same order everywhere
        parameters["seed"] = zlib.crc32(f"{live.seed}:{question.task}:{question.id}".encode()) & 0x7FFFFFFF
    query = msgspec.structs.replace(Query.from_text(question.text), parameters=parameters)
    try:
        answer = await live.methods[unit.method].answer(query)
    except AllModelsFailed as e:
        return AnsweredUnit(_failed_outcome(unit, e, sum_calls(question_run)))
    totals = sum_calls(question_run)
    score = await _grade(question, answer.text, live)
    # A judge costs calls, so it grades the final answer only; other graders grade each proposal as well.
    proposals = () if question.grader == "judge" else latest_answers(answer.trace)
    model_scores = {
        p.model: score if p.text == answer.text else await _grade(question, p.text, live) for p in proposals
    }
    return AnsweredUnit(_outcome(unit, answer, score, model_scores, totals), answer)


def sum_calls(question_run: QuestionRun) -> QuestionTotals:
    """Return what a question has taken so far."""
    usage: Usage = Usage(0, 0, 0, 0)
    cost: float | None = 0.0
    for call in question_run.calls:
        usage, cost = usage + call.usage, add_optional(cost, call.cost)
    return QuestionTotals(len(question_run.calls), usage, cost, question_run.elapsed_seconds())


async def _grade(question: Question, text: str, live: LiveRun) -> float | None:
    """Grade in a thread: running unit tests or proving an equation is slow."""
    if question.grader == "judge" and live.judge is not None and question.reference:
        return await compare_answers(question.query, text, question.reference, live.judge, live.call_cache)
    return await asyncio.to_thread(question.grade, text)


def _outcome(
    unit: WorkUnit, answer: Answer, score: float | None, model_scores: dict[str, float | None], totals: QuestionTotals
) -> Outcome:
    trace, question = answer.trace, unit.question
    posterior = trace.layers[-1].scores if trace.layers else {}
    choice = trace.choice or (trace.layers[0].selected[0] if trace.calls == 1 and trace.layers else None)
    failure = None if answer.text.strip() else "the answer is empty"
    return Outcome(
        unit.method,
        question.task,
        question.id,
        0.0 if failure else score,
        failure=failure,
        calls=totals.calls,
        prompt_tokens=totals.usage.prompt_tokens,
        completion_tokens=totals.usage.completion_tokens,
        cost=totals.cost,
        seconds=totals.seconds,
        query=question.query,
        reference=question.reference,
        text=answer.text,
        layers=tuple(tuple(p.model for p in layer.proposals) for layer in trace.layers),
        choice=choice,
        aggregator=trace.aggregator,
        confidence=posterior.get(choice) if choice else None,
        stop=trace.stop_reason,
        prior=trace.prior,
        model_scores=model_scores,
    )


def _failed_outcome(unit: WorkUnit, error: AllModelsFailed, totals: QuestionTotals) -> Outcome:
    """Return the outcome of a question that no model answered: it scores 0 and counts as a failure."""
    question = unit.question
    return Outcome(
        unit.method,
        question.task,
        question.id,
        0.0,
        failure=str(error),
        calls=totals.calls,
        prompt_tokens=totals.usage.prompt_tokens,
        completion_tokens=totals.usage.completion_tokens,
        cost=totals.cost,
        seconds=totals.seconds,
        query=question.query,
        reference=question.reference,
    )


def _trace_line(unit: WorkUnit, answer: Answer) -> TraceLine:
    question = unit.question
    return TraceLine(*unit.key, answer.text, answer.trace, question.reference, question.grader)


def _read_trace_keys(path: Path) -> set[UnitKey]:
    """Return whose traces are written already: a run may have ended between a trace and its outcome."""
    return {parse_unit_key(line) for _, line in read_lines(path, lambda _: None)}


def parse_unit_key(line: bytes) -> UnitKey:
    """Return method, task and id of a line of outcomes, traces or calls."""
    fields = msgspec.json.decode(line)
    return fields["method"], fields["task"], fields["id"]
