"""The final answer: written by one model out of the best answers, or the best one as it is when that is enough."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from time import perf_counter
from types import MappingProxyType

from msgspec.structs import replace

from routemoa.core.errors import CallCancelled, InvalidResponse, ModelError, Unaffordable
from routemoa.core.events import (
    AggregatorFailed,
    AggregatorStarted,
    AnswerDelta,
    CallFinished,
    CallStarted,
    Degraded,
    Event,
)
from routemoa.core.protocols import Client
from routemoa.core.trace import Degradation, Proposal
from routemoa.core.types import Completion, ModelSpec, Query, Request
from routemoa.mixture import prompts
from routemoa.mixture.budget.metering import MeteredClient
from routemoa.mixture.hedging import Lost, Won, hedged
from routemoa.mixture.layer import make_failure

__all__ = ["request", "write_answer"]


def request(query: Query, proposals: Sequence[Proposal]) -> Request:
    """The call that asks for the final answer out of `proposals`."""
    texts = [p.text for p in proposals]
    return Request(prompts.aggregation_messages(query.messages, texts), query.parameters, purpose="aggregator")


async def write_answer(
    query: Query,
    proposals: Sequence[Proposal],
    writers: Sequence[ModelSpec],
    desk: MeteredClient,
    late: Mapping[str, float] = MappingProxyType({}),
) -> AsyncGenerator[Event, None]:
    """Yield the final answer's events, up to Done.

    Args:
        proposals: the answers to write from, best first; the first stands when no writer is needed or left.
        writers: who is asked to aggregate, the next one when one fails; nobody where the first answer stands anyway.
        desk: where the calls are made.
        late: for each model, seconds after which its first token is late: the next writer is then asked as well.
    """
    asked = request(query, proposals)
    left = list(writers)
    while left:
        spec = left.pop(0)
        yield AggregatorStarted(spec.name)
        begun = perf_counter()
        written: Completion | None = None
        spare = next((m for m in left if not m.local), None) if spec.name in late and not spec.local else None
        other = None if spare is None else partial(_stream, spare, replace(asked, purpose="hedge"), desk)
        try:
            async with aclosing(hedged(_stream(spec, asked, desk), other, late.get(spec.name))) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Won | Lost) and spare is not None:
                        if not isinstance(piece.error, Unaffordable):  # else it may still be asked in its place
                            left.remove(spare)
                        for event in _resolved(piece, spec, spare, perf_counter() - begun):
                            yield event
                        spec = spare if isinstance(piece, Won) else spec
                    elif isinstance(piece, Completion):
                        written = piece
                        break
                    elif isinstance(piece, str):
                        yield AnswerDelta(piece)
        except ModelError as e:
            yield AggregatorFailed(make_failure(spec, e, perf_counter() - begun))
        if written is not None:
            yield desk.done(written.finish_reason, written.usage, spec.cost(written.usage))
            return
    yield AnswerDelta(proposals[0].text)
    yield desk.done("stop")


def _resolved(how: Won | Lost, first: ModelSpec, second: ModelSpec, seconds: float) -> tuple[Event, Event]:
    """What is said of a hedged pair: whoever is cut has made a call all the same."""
    if isinstance(how, Lost) and isinstance(how.error, Unaffordable):
        return CallStarted("hedge", second.name), Degraded(Degradation("hedge", how.error.reason, (second.name,)))
    if isinstance(how, Won):
        slow = how.error or CallCancelled(first.name, f"no first token for {seconds:.2f} s: {second.name} was faster")
        return AggregatorFailed(make_failure(first, slow, seconds)), AggregatorStarted(second.name)
    why = how.error or CallCancelled(second.name, f"{first.name}, for which it stood in, was faster after all")
    return CallStarted("hedge", second.name), CallFinished("hedge", failure=make_failure(second, why, seconds))


async def _stream(spec: ModelSpec, request: Request, client: Client) -> AsyncGenerator[str | Completion, None]:
    """The client's stream, in which an empty answer is an error."""
    async with aclosing(client.stream(spec, request)) as pieces:
        async for piece in pieces:
            if isinstance(piece, Completion) and not piece.text.strip():
                raise InvalidResponse(spec.name, f"empty answer (finish_reason {piece.finish_reason})", produced=True)
            yield piece
            if isinstance(piece, Completion):
                return
    raise InvalidResponse(spec.name, "the stream ended without a completion", produced=True)
