"""The final answer: written by one model out of the best answers, or the best one as it is when that is enough."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from time import perf_counter

from routemoa import prompts
from routemoa.errors import Garbled, ModelError
from routemoa.events import AggregatorFailed, AggregatorStarted, AnswerDelta, Done, Event
from routemoa.layer import failure
from routemoa.protocols import Client
from routemoa.types import Completion, ModelSpec, Proposal, Query, Request

__all__ = ["write"]


async def write(
    query: Query,
    proposals: Sequence[Proposal],
    writers: Sequence[ModelSpec],
    client: Client,
    started: float,
) -> AsyncGenerator[Event, None]:
    """Yield the final answer's events, up to Done.

    Args:
        proposals: the answers to write from, best first; the first stands when no writer is needed or left.
        writers: who is asked to aggregate, the next one when one fails; nobody where the first answer stands anyway.
        started: `perf_counter()` at the query's start.
    """
    messages = prompts.aggregation(query.messages, [p.text for p in proposals]) if writers else ()
    for spec in writers:
        yield AggregatorStarted(spec.name)
        begun = perf_counter()
        try:
            async with aclosing(_stream(spec, Request(messages, query.parameters), client)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Completion):
                        spent = (piece.usage, spec.cost(piece.usage))
                        yield Done(perf_counter() - started, *spent, piece.finish_reason)
                        return
                    yield AnswerDelta(piece)
        except ModelError as e:
            yield AggregatorFailed(failure(spec, e, perf_counter() - begun))
    yield AnswerDelta(proposals[0].text)
    yield Done(perf_counter() - started, finish_reason="stop")


async def _stream(spec: ModelSpec, request: Request, client: Client) -> AsyncGenerator[str | Completion, None]:
    """The client's stream, in which an empty answer is an error."""
    async with aclosing(client.stream(spec, request)) as pieces:
        async for piece in pieces:
            if isinstance(piece, Completion) and not piece.text.strip():
                raise Garbled(spec.name, f"empty answer (finish_reason {piece.finish_reason})", produced=True)
            yield piece
