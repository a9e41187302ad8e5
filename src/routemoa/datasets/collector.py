"""Ask every model of a pool every question, and keep what each answered as records.

Planning is pure: which calls are left, what they will cost, what they came to. Only `run` calls anybody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from time import perf_counter

from msgspec import Struct

from routemoa.core.errors import ModelError
from routemoa.core.protocols import Client
from routemoa.core.types import CHARACTERS_PER_TOKEN, Completion, Message, ModelSpec, Request, Usage
from routemoa.datasets.collection import AnswerCollection, CollectedAnswer
from routemoa.datasets.questions import Question

__all__ = ["CollectCall", "Estimate", "ModelResult", "answer_length", "estimate_calls", "gather_or_cancel", "list_remaining_calls", "collect_answers", "summarize_models"]

DEFAULT_ANSWER_TOKENS = 300  # tokens of an answer where the pool file sets no limit


class CollectCall(Struct, frozen=True):
    """One question to one model."""

    question: Question
    model: ModelSpec


class Estimate(Struct, frozen=True):
    """What calls will take: tokens by rule of thumb, dollars at the pool file's prices.

    `cost` is None when a price is unknown; `unpriced` names those models and `known` is what the others cost.
    """

    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    known_cost: float
    unpriced: tuple[str, ...]


class ModelResult(Struct, frozen=True):
    """How one model did: `accuracy` is its mean score, `cost` what it charged in dollars, `seconds` their mean time."""

    model: str
    asked: int
    answered: int
    failed: int
    graded: int
    accuracy: float | None
    cost: float | None  # None when it is unknown for any answer
    seconds: float | None


def list_remaining_calls(questions: Iterable[Question], models: Sequence[ModelSpec], collection: AnswerCollection) -> list[CollectCall]:
    """The calls that are left, question by question."""
    return [CollectCall(q, m) for q in questions for m in models if not collection.has(q, m.name)]


def estimate_calls(calls: Iterable[CollectCall]) -> Estimate:
    """What `calls` will take, before any is made."""
    count = prompt = completion = 0
    known = 0.0
    unpriced: dict[str, None] = {}
    for count, call in enumerate(calls, 1):  # noqa: B007  (the last count is the result)
        model = call.model
        asked = -(-len((model.system or "") + call.question.text) // CHARACTERS_PER_TOKEN)
        answered = answer_length(model)
        prompt += asked
        completion += answered
        cost = model.cost(Usage(asked, answered))
        known += cost or 0.0
        if cost is None:
            unpriced[model.name] = None
    return Estimate(count, prompt, completion, None if unpriced else known, known, tuple(unpriced))


def answer_length(model: ModelSpec) -> int:
    """Tokens that an answer is taken to have: as many as the pool file lets it have, else ANSWER."""
    limit = model.parameters.get("max_tokens", model.parameters.get("max_completion_tokens"))
    return limit if isinstance(limit, int) and limit > 0 else DEFAULT_ANSWER_TOKENS


def summarize_models(questions: Iterable[Question], models: Sequence[ModelSpec], collection: AnswerCollection) -> list[ModelResult]:
    """How each model did on `questions` so far, earlier runs included."""
    rows = [collection.answers.get(q.key, {}) for q in questions]
    return [_summarize(m.name, [row[m.name] for row in rows if m.name in row]) for m in models]


def _summarize(model: str, outcomes: Sequence[CollectedAnswer]) -> ModelResult:
    answers = [o for o in outcomes if not o.failure]
    scores = [o.score for o in answers if o.score is not None]
    costs = [o.cost for o in outcomes if not o.failure or o.cost is not None]
    seconds = [o.seconds for o in answers if o.seconds is not None]
    return ModelResult(
        model,
        len(outcomes),
        len(answers),
        len(outcomes) - len(answers),
        len(scores),
        sum(scores) / len(scores) if scores else None,
        None if None in costs else sum(c for c in costs if c is not None),
        sum(seconds) / len(seconds) if seconds else None,
    )


async def collect_answers(
    calls: Sequence[CollectCall],
    client: Client,
    collection: AnswerCollection,
    *,
    concurrency: int = 4,
    on_answer: Callable[[CollectedAnswer], None] = lambda _: None,
) -> None:
    """Make the calls, each outcome written down as it comes; a call that fails is an outcome without a score.

    Args:
        calls: as planned.
        client: calls the models.
        gathered: where outcomes go.
        concurrency: how many calls may be under way at one endpoint.
        say: told of every outcome once it is written down.

    Raises:
        RecordsError: an outcome could not be written; the calls under way are cancelled.
    """
    endpoints: dict[str, list[CollectCall]] = {}
    for call in calls:
        endpoints.setdefault(call.model.endpoint, []).append(call)

    async def work(mine: Iterator[CollectCall]) -> None:
        for call in mine:
            outcome = await ask_model(call, client)
            collection.add(outcome)
            on_answer(outcome)

    tasks: list[asyncio.Task[None]] = []
    for mine in endpoints.values():
        left = iter(mine)  # shared: whoever is free takes the next one
        tasks += [asyncio.create_task(work(left)) for _ in range(min(concurrency, len(mine)))]
    await gather_or_cancel(tasks)


async def gather_or_cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Wait for all. Where one fails, or the waiting is interrupted, the others are cancelled and none is left."""
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def ask_model(call: CollectCall, client: Client) -> CollectedAnswer:
    """Ask one model one question and grade what it says."""
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
        cost=model.cost(completion.usage),  # an empty answer has its price, too
        seconds=perf_counter() - started,
        failure=failure,
    )


async def _complete(model: ModelSpec, request: Request, client: Client) -> Completion:
    async with aclosing(client.stream(model, request)) as pieces:
        async for piece in pieces:
            if isinstance(piece, Completion):
                return piece
    return Completion("")
