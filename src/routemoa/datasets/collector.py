"""Ask every model of a pool every question, and keep the answers as records.

Planning is pure: which calls remain, what they will cost, how each model did. Only `ask_model` calls a model.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from time import perf_counter

from msgspec import Struct

from routemoa.core.errors import BudgetExceeded, ModelError
from routemoa.core.protocols import Client
from routemoa.core.types import CHARACTERS_PER_TOKEN, USUAL_TOKENS, Completion, Message, ModelSpec, Request
from routemoa.core.usage import Usage
from routemoa.datasets.collection import AnswerCollection, CollectedAnswer
from routemoa.datasets.questions import Question

__all__ = [
    "CollectCall",
    "Estimate",
    "ModelResult",
    "answer_length",
    "ask_model",
    "collect_answers",
    "estimate_calls",
    "gather_or_cancel",
    "list_remaining_calls",
    "summarize_models",
]


class CollectCall(Struct, frozen=True):
    """One question for one model."""

    question: Question
    model: ModelSpec


class Estimate(Struct, frozen=True, rename={"known_cost": "known"}):
    """What calls will take, before they are made: tokens by rule of thumb, dollars at the pool file's prices."""

    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    """None where a price is unknown."""
    known_cost: float
    """Of the models whose price is known."""
    unpriced: tuple[str, ...]
    """The other models."""


class ModelResult(Struct, frozen=True):
    """How one model did on the questions of a collection."""

    model: str
    asked: int
    answered: int
    failed: int
    graded: int
    accuracy: float | None
    """The mean score of its graded answers."""
    cost: float | None
    """Dollars in all; None where that of any answer is unknown."""
    seconds: float | None
    """The mean of its answers."""


def list_remaining_calls(
    questions: Iterable[Question], models: Sequence[ModelSpec], collection: AnswerCollection
) -> list[CollectCall]:
    """Return the calls that are still to be made, question by question."""
    return [CollectCall(q, m) for q in questions for m in models if collection.needs_call(q, m.name)]


def estimate_calls(calls: Iterable[CollectCall]) -> Estimate:
    """Estimate what `calls` will take."""
    count = prompt_tokens = completion_tokens = 0
    known_cost = 0.0
    unpriced: dict[str, None] = {}
    for count, call in enumerate(calls, 1):  # noqa: B007  (the last count is the result)
        model = call.model
        prompt = -(-len((model.system or "") + call.question.text) // CHARACTERS_PER_TOKEN)
        completion = answer_length(model)
        prompt_tokens += prompt
        completion_tokens += completion
        cost = model.cost(Usage(prompt, completion))
        known_cost += cost or 0.0
        if cost is None:
            unpriced[model.name] = None
    total = None if unpriced else known_cost
    return Estimate(count, prompt_tokens, completion_tokens, total, known_cost, tuple(unpriced))


def answer_length(model: ModelSpec) -> int:
    """Return the assumed tokens of an answer: the limit that the pool file sets, else USUAL_TOKENS."""
    limit = model.parameters.get("max_tokens", model.parameters.get("max_completion_tokens"))
    return limit if isinstance(limit, int) and limit > 0 else USUAL_TOKENS


def summarize_models(
    questions: Iterable[Question], models: Sequence[ModelSpec], collection: AnswerCollection
) -> list[ModelResult]:
    """Return how each model did on `questions` so far, earlier runs included."""
    rows = [collection.answers.get(q.key, {}) for q in questions]
    return [_summarize(m.name, [row[m.name] for row in rows if m.name in row]) for m in models]


def _summarize(model: str, results: Sequence[CollectedAnswer]) -> ModelResult:
    answers = [a for a in results if not a.failure]
    scores = [a.score for a in answers if a.score is not None]
    costs = [a.cost for a in results if not a.failure or a.cost is not None]
    seconds = [a.seconds for a in answers if a.seconds is not None]
    return ModelResult(
        model,
        asked=len(results),
        answered=len(answers),
        failed=len(results) - len(answers),
        graded=len(scores),
        accuracy=sum(scores) / len(scores) if scores else None,
        cost=None if None in costs else sum(c for c in costs if c is not None),
        seconds=sum(seconds) / len(seconds) if seconds else None,
    )


async def collect_answers(
    calls: Sequence[CollectCall],
    ask: Callable[[CollectCall], Awaitable[CollectedAnswer]],
    collection: AnswerCollection,
    *,
    concurrency: int = 4,
    on_answer: Callable[[CollectedAnswer], None] = lambda _: None,
) -> None:
    """Make the calls and add each answer to the collection; a failed call is an answer without a score.

    Args:
        calls: as planned.
        ask: makes a call, such as `ask_model`.
        collection: where the answers go.
        concurrency: calls at a time to one endpoint.
        on_answer: called with each answer once it is written.

    Raises:
        BudgetExceeded: the limit is reached; the running calls went on to their ends, and are kept.
        RecordsError: an answer could not be written; the running calls are cancelled.
    """
    exceeded: list[BudgetExceeded] = []
    by_endpoint: dict[str, list[CollectCall]] = {}
    for call in calls:
        by_endpoint.setdefault(call.model.endpoint, []).append(call)

    async def work(remaining: Iterator[CollectCall]) -> None:
        for call in remaining:
            if exceeded:
                return
            try:
                answer = await ask(call)
            except BudgetExceeded as e:
                exceeded.append(e)
                return
            collection.add(answer)
            on_answer(answer)

    tasks: list[asyncio.Task[None]] = []
    for endpoint_calls in by_endpoint.values():
        remaining = iter(endpoint_calls)  # shared: an idle worker takes the next call
        tasks += [asyncio.create_task(work(remaining)) for _ in range(min(concurrency, len(endpoint_calls)))]
    await gather_or_cancel(tasks)
    if exceeded:
        raise exceeded[0]


async def gather_or_cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Wait for all tasks. Where one fails, or the wait is cancelled, cancel the others and wait until they end."""
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def ask_model(call: CollectCall, client: Client) -> CollectedAnswer:
    """Ask one model one question and grade its answer. Raises BudgetExceeded."""
    question, model = call.question, call.model
    started = perf_counter()
    failure: str | None = None
    completion = Completion("")
    try:
        completion = await _complete(model, Request((Message("user", question.text),)), client)
        if not completion.text.strip():
            failure = f"empty answer (finish_reason {completion.finish_reason})"
    except ModelError as e:
        failure = f"{e.kind}: {e.reason}"
    return CollectedAnswer(
        question.task,
        question.id,
        model.name,
        score=None if failure else question.grade(completion.text),
        text=None if failure else completion.text,
        cost=model.cost(completion.usage),  # an empty answer is charged, too
        seconds=perf_counter() - started,
        failure=failure,
    )


async def _complete(model: ModelSpec, request: Request, client: Client) -> Completion:
    async with aclosing(client.stream(model, request)) as pieces:
        async for piece in pieces:
            if isinstance(piece, Completion):
                return piece
    return Completion("")
