"""What several rivals are made of: a layer, a call beside the layers; and what a trace tells.

One rule on failures for all of them, which is RouteMoA's: a model that failed is not asked again in this query, the
next step goes on with those that answered, and only when nobody has is there no answer.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from time import perf_counter

from routemoa.core.errors import InvalidResponse, ModelError, RouteMoAError
from routemoa.core.events import (
    CallFinished,
    CallStarted,
    Event,
    Selected,
)
from routemoa.core.protocols import Client
from routemoa.core.trace import Proposal, Trace
from routemoa.core.types import Completion, Message, ModelSpec, Request
from routemoa.mixture import layer
from routemoa.mixture.budget.metering import MeteredClient

__all__ = ["all_failed_models", "call_model", "last_answers", "no_answer_error", "remaining_models", "run_proposers"]


def all_failed_models(trace: Trace) -> set[str]:
    """Models that failed in this query, in whichever part: none of them is asked to write or to moderate."""
    return {f.model for done in trace.layers for f in done.failures} | {f.model for f in trace.failures}


def remaining_models(models: Sequence[ModelSpec], trace: Trace) -> list[ModelSpec]:
    """Those of `models` that have not failed to answer in this query."""
    out = {f.model for done in trace.layers for f in done.failures}
    return [m for m in models if m.name not in out]


def last_answers(trace: Trace, models: Sequence[ModelSpec]) -> tuple[Proposal, ...]:
    """The answers of the last layer that gave any, or none.

    In the order of `models`, and several of one model by their texts: not as they came in, so that the same answers
    always make the same prompt.
    """
    place = {m.name: i for i, m in enumerate(models)}
    given = next((done.proposals for done in reversed(trace.layers) if done.proposals), ())
    return tuple(sorted(given, key=lambda p: (place[p.model], p.text)))


def no_answer_error(trace: Trace, desk: MeteredClient) -> RouteMoAError:
    """The error that says why nobody answered."""
    return desk.nobody([f for done in trace.layers for f in done.failures])


async def run_proposers(
    plan: layer.LayerRequest, models: Sequence[ModelSpec], client: Client, reserve: Sequence[ModelSpec] = ()
) -> AsyncGenerator[Event, None]:
    """One layer: `models` answer at the same time; one of `reserve`, if any, takes the place of each that fails."""
    yield Selected(plan.number, tuple(m.name for m in models))
    async with aclosing(layer.run_layer(plan, models, reserve, client)) as events:
        async for event in events:
            yield event


async def call_model(
    purpose: str, spec: ModelSpec, messages: tuple[Message, ...], client: Client
) -> AsyncGenerator[Event, None]:
    """Ask one model for something else than an answer; the last event, CallFinished, holds its reply or its failure.

    The caller's sampling parameters are for answers (a `stop` or a cap would cut the reply): they do not go along.
    """
    yield CallStarted(purpose, spec.name)
    begun = perf_counter()
    try:
        said = await _whole(spec, Request(messages, purpose="judge"), client)
    except ModelError as e:
        yield CallFinished(purpose, failure=layer.make_failure(spec, e, perf_counter() - begun))
    else:
        cost = spec.cost(said.usage)
        yield CallFinished(purpose, Proposal(spec.name, said.text, said.usage, perf_counter() - begun, cost))


async def _whole(spec: ModelSpec, request: Request, client: Client) -> Completion:
    async with aclosing(client.stream(spec, request)) as pieces:
        async for piece in pieces:
            if isinstance(piece, Completion):
                return piece
    raise InvalidResponse(spec.name, "the stream ended without a completion", produced=True)
