"""What every rival is: a name, a client, and a walk whose events fold to the answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import aclosing
from time import perf_counter

from routemoa.events import Event, Started
from routemoa.protocols import Client, Tab
from routemoa.trace import Fold, collect
from routemoa.types import Answer, Query

__all__ = ["Baseline"]


class Baseline(ABC):
    """A method that is its walk; whoever writes one says only what happens between Started and Done."""

    def __init__(self, name: str, client: Client) -> None:
        self.name = name
        self.client = client

    async def answer(self, query: Query) -> Answer:
        """The final text and its trace. Raises NoModelLeft."""
        return await collect(self.stream(query))

    async def stream(self, query: Query, tab: Tab | None = None) -> AsyncGenerator[Event, None]:
        """Yield what happens, from Started to Done. Raises NoModelLeft."""
        so_far, started = Fold(), perf_counter()
        begin = Started(query, self.name)
        so_far.add(begin)
        yield begin
        async with aclosing(self.walk(query, so_far, started)) as events:
            async for event in events:
                so_far.add(event)
                yield event

    @abstractmethod
    def walk(self, query: Query, so_far: Fold, started: float) -> AsyncGenerator[Event, None]:
        """The method's steps.

        Args:
            query: what is asked.
            so_far: the fold of all that has been yielded.
            started: `perf_counter()` at the query's start.
        """
