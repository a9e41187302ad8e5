"""The final answer: written by one model out of the best answers, or the best one as it is when that is enough."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from time import perf_counter

from routemoa import prompts
from routemoa.desk import Desk
from routemoa.errors import Garbled, ModelError
from routemoa.events import AggregatorFailed, AggregatorStarted, AnswerDelta, Event
from routemoa.layer import failure
from routemoa.protocols import Client
from routemoa.types import Completion, ModelSpec, Proposal, Query, Request

__all__ = ["request", "write"]


def request(query: Query, proposals: Sequence[Proposal]) -> Request:
    """The call that asks for the final answer out of `proposals`."""
    texts = [p.text for p in proposals]
    return Request(prompts.aggregation(query.messages, texts), query.parameters, purpose="aggregator")


async def write(
    query: Query, proposals: Sequence[Proposal], writers: Sequence[ModelSpec], desk: Desk
) -> AsyncGenerator[Event, None]:
    """Yield the final answer's events, up to Done.

    Args:
        proposals: the answers to write from, best first; the first stands when no writer is needed or left.
        writers: who is asked to aggregate, the next one when one fails; nobody where the first answer stands anyway.
        desk: where the calls are made.
    """
    asked = request(query, proposals)
    for spec in writers:
        yield AggregatorStarted(spec.name)
        begun = perf_counter()
        written: Completion | None = None
        try:
            async with aclosing(_stream(spec, asked, desk)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Completion):
                        written = piece
                        break
                    yield AnswerDelta(piece)
        except ModelError as e:
            yield AggregatorFailed(failure(spec, e, perf_counter() - begun))
        if written is not None:
            yield desk.done(written.finish_reason, written.usage, spec.cost(written.usage))
            return
    yield AnswerDelta(proposals[0].text)
    yield desk.done("stop")


async def _stream(spec: ModelSpec, request: Request, client: Client) -> AsyncGenerator[str | Completion, None]:
    """The client's stream, in which an empty answer is an error."""
    async with aclosing(client.stream(spec, request)) as pieces:
        async for piece in pieces:
            if isinstance(piece, Completion) and not piece.text.strip():
                raise Garbled(spec.name, f"empty answer (finish_reason {piece.finish_reason})", produced=True)
            yield piece
