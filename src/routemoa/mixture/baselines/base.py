"""What every rival is: a name, a client, and a walk whose events fold to the answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import aclosing

from routemoa.core.events import Event, Started
from routemoa.core.protocols import CallRecorder, Client
from routemoa.core.trace import Answer
from routemoa.core.trace_builder import TraceBuilder, collect_answer
from routemoa.core.types import Limits, Query
from routemoa.mixture.budget.metering import MeteredClient

__all__ = ["Baseline"]


class Baseline(ABC):
    """A method that is its walk; whoever writes one says only what happens between Started and Done."""

    def __init__(self, name: str, client: Client, contract: Limits = Limits()) -> None:  # noqa: B008  (frozen)
        self.name = name
        self.client = client
        self.contract = contract  # of a query that says nothing itself

    async def answer(self, query: Query) -> Answer:
        """The final text and its trace. Raises NoModelLeft, OverBudget."""
        return await collect_answer(self.stream(query))

    async def stream(self, query: Query, tab: CallRecorder | None = None) -> AsyncGenerator[Event, None]:
        """Yield what happens, from Started to Done. Raises NoModelLeft, OverBudget."""
        so_far, desk = TraceBuilder(), MeteredClient(self.client, query.limits.with_defaults(self.contract), tab)
        begin = Started(query, self.name)
        so_far.add(begin)
        yield begin
        async with aclosing(self.walk(query, so_far, desk)) as events:
            async for event in events:
                so_far.add(event)
                yield event

    @abstractmethod
    def walk(self, query: Query, so_far: TraceBuilder, desk: MeteredClient) -> AsyncGenerator[Event, None]:
        """The method's steps.

        Args:
            query: what is asked.
            so_far: the fold of all that has been yielded.
            desk: where the calls are made, under the query's contract.
        """
