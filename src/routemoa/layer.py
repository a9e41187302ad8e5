"""One layer: the selected models answer at the same time, and judge in the same replies.

A model that fails is recorded, and the next one of the reserve takes its place at once; it is never fatal here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from random import Random
from time import perf_counter

from msgspec import Struct

from routemoa import prompts, replies
from routemoa.errors import Garbled, ModelError, Refused, Unreachable
from routemoa.events import Event, Judged, ProposalDelta, ProposalFailed, ProposalFinished, ProposalStarted
from routemoa.judges import confidence
from routemoa.prompts import Asked
from routemoa.protocols import Client
from routemoa.replies import Reply
from routemoa.types import Assessment, Completion, Failure, ModelSpec, Proposal, Query, Request, Usage

__all__ = ["Plan", "failure", "run"]


class Plan(Struct, frozen=True):
    """What a layer's proposers are asked for.

    `candidates` are earlier answers, quoted to every proposer in an order of its own and scored by it when `cross`;
    `spoken` asks for a self-score in the reply, `logprob` takes the mean token log-probability instead.
    """

    number: int  # 1 for the first layer
    query: Query
    candidates: tuple[Proposal, ...] = ()
    spoken: bool = False
    logprob: bool = False
    cross: bool = False
    seed: int = 0  # of the order in which each model is shown the candidates

    def asked(self, spec: ModelSpec) -> Asked:
        """What `spec` is asked for besides its answer."""
        return Asked(self.spoken, prompts.labels(len(self.candidates)) if self.cross else (), spec.structured)

    def shown(self, spec: ModelSpec) -> tuple[Proposal, ...]:
        """The candidates in the order that `spec` sees: its own shuffle, so that no place is favoured by all judges."""
        shuffled = list(self.candidates)
        Random(f"{self.seed}:{self.number}:{spec.name}").shuffle(shuffled)  # noqa: S311  (an order, no secret)
        return tuple(shuffled)

    def request(self, spec: ModelSpec) -> Request:
        """The call that asks `spec`."""
        asked = self.asked(spec)
        return Request(
            prompts.proposal(self.query.messages, [c.text for c in self.shown(spec)], asked),
            self.query.parameters,
            logprobs=self.logprob,
            schema=prompts.schema(asked) if asked and asked.structured else None,
        )


async def run(
    plan: Plan, selected: Sequence[ModelSpec], reserve: Sequence[ModelSpec], client: Client
) -> AsyncGenerator[Event, None]:
    """Yield what happens, as it happens; closing the iterator cancels every call under way.

    Args:
        selected: who is called at once.
        reserve: who takes the place of a model that fails, best first.
    """
    waiting = list(reserve)
    events: asyncio.Queue[Event | None] = asyncio.Queue()  # None: one call has ended
    tasks = [asyncio.create_task(_propose(plan, spec, client, events.put_nowait)) for spec in selected]
    running = len(tasks)
    try:
        while running:
            event = await events.get()
            if event is None:
                running -= 1
                continue
            yield event
            if isinstance(event, ProposalFailed) and waiting:
                tasks.append(asyncio.create_task(_propose(plan, waiting.pop(0), client, events.put_nowait)))
                running += 1
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:  # an error that is no ModelError is a defect of ours: not to be swallowed
        if isinstance(result, BaseException):
            raise result


async def _propose(plan: Plan, spec: ModelSpec, client: Client, say: Callable[[Event | None], None]) -> None:
    """Call one proposer and say what comes of it."""
    say(ProposalStarted(plan.number, spec.name, tuple(c.model for c in plan.shown(spec))))
    started = perf_counter()
    try:
        completion = await _call(plan, spec, client, say)
        reply = replies.read(completion.text, plan.asked(spec))
        seconds = perf_counter() - started
        if reply.answer:
            cost = spec.cost(completion.usage)
            say(ProposalFinished(plan.number, Proposal(spec.name, reply.answer, completion.usage, seconds, cost)))
            if judged := _assessments(plan, spec, reply, completion):
                say(Judged(plan.number, judged))
        else:
            empty = Garbled(spec.name, f"empty answer (finish_reason {completion.finish_reason})", produced=True)
            say(ProposalFailed(plan.number, failure(spec, empty, seconds, completion.usage)))
    except ModelError as e:
        say(ProposalFailed(plan.number, failure(spec, e, perf_counter() - started)))
    finally:
        say(None)


async def _call(plan: Plan, spec: ModelSpec, client: Client, say: Callable[[Event | None], None]) -> Completion:
    shown = replies.AnswerStream(plan.asked(spec))
    async with aclosing(client.stream(spec, plan.request(spec))) as pieces:
        async for piece in pieces:
            if isinstance(piece, Completion):
                return piece
            if text := shown.feed(piece):
                say(ProposalDelta(plan.number, spec.name, text))
    raise Garbled(spec.name, "the stream ended without a completion", produced=True)


def _assessments(plan: Plan, spec: ModelSpec, reply: Reply, completion: Completion) -> tuple[Assessment, ...]:
    given: list[Assessment] = []
    if plan.logprob:
        own = confidence(completion.tokens, None if spec.structured else len(reply.answer))
        given.append(Assessment(spec.name, spec.name, "self", own))
    elif plan.spoken:
        given.append(Assessment(spec.name, spec.name, "self", reply.self_score))
    if plan.cross:  # a view of one's own answer is no peer's view
        for label, candidate in zip(prompts.labels(len(plan.candidates)), plan.shown(spec), strict=True):
            if candidate.model != spec.name:
                given.append(Assessment(spec.name, candidate.model, "cross", reply.scores.get(label)))
    return tuple(given)


def failure(spec: ModelSpec, error: ModelError, latency: float, usage: Usage | None = None) -> Failure:
    """A failed call for the trace. Refused or unreachable before a token came: nothing was used; else unknown."""
    if usage is None:
        nothing = isinstance(error, Refused | Unreachable) and not error.produced
        usage = Usage(0, 0, 0) if nothing else Usage()
        cost = 0.0 if nothing else None
    else:
        cost = spec.cost(usage)
    status = error.status if isinstance(error, Refused) else None
    return Failure(spec.name, error.reason, type(error).__name__, usage, latency, cost, status)
