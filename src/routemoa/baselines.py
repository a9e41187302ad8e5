"""Other ways to answer a query behind the same Method protocol: here one model alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from time import perf_counter

from routemoa import layer
from routemoa.errors import NoModelLeft
from routemoa.events import (
    AnswerDelta,
    Done,
    Event,
    ProposalDelta,
    ProposalFailed,
    ProposalFinished,
    Selected,
    Started,
    Stopped,
)
from routemoa.protocols import Client
from routemoa.trace import collect
from routemoa.types import Answer, ModelSpec, Query

__all__ = ["Single"]


class Single:
    """One model of the pool, asked once."""

    def __init__(self, spec: ModelSpec, client: Client) -> None:
        self.spec = spec
        self.client = client

    @property
    def name(self) -> str:
        """What traces call it."""
        return f"single:{self.spec.name}"

    async def answer(self, query: Query) -> Answer:
        """The model's answer and its trace. Raises NoModelLeft."""
        return await collect(self.stream(query))

    async def stream(self, query: Query) -> AsyncGenerator[Event, None]:
        """What happens, from Started to Done; the answer streams as it is written. Raises NoModelLeft."""
        started = perf_counter()
        yield Started(query, self.name)
        yield Selected(1, (self.spec.name,))
        streamed = ""
        async with aclosing(layer.run(layer.Plan(1, query), [self.spec], [], self.client)) as events:
            async for event in events:
                yield event
                if isinstance(event, ProposalFailed):
                    raise NoModelLeft([event.failure])
                if isinstance(event, ProposalDelta):
                    streamed += event.text
                    yield AnswerDelta(event.text)
                elif isinstance(event, ProposalFinished) and not streamed:
                    yield AnswerDelta(event.proposal.text)
        yield Stopped("one model was asked for")
        yield Done(perf_counter() - started, finish_reason="stop")
