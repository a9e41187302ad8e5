"""The seams: what may be replaced by something else. Nothing else is pluggable."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from routemoa.events import Event
from routemoa.types import Address, Answer, Completion, ModelSpec, Query, Request, Scores

__all__ = ["Client", "Method", "Runtime", "Scorer"]


class Client(Protocol):
    """Calls models. The one HTTP client is in `client`; scripted ones are in `testing`."""

    def stream(self, model: ModelSpec, request: Request) -> AsyncGenerator[str | Completion, None]:
        """Yield pieces of text as they come, then exactly one Completion with the whole; raise ModelError.

        Closing the iterator early (or cancelling the task) ends the call at the endpoint as well.
        """
        ...

    async def close(self) -> None:
        """Let go of connections and processes."""
        ...


class Runtime(Protocol):
    """Serves the members whose endpoint is "local"."""

    async def address(self, model: ModelSpec) -> Address:
        """Load the model if need be and say where it listens; raise ModelError when it cannot be had."""
        ...

    async def close(self) -> None:
        """End every process and free the memory."""
        ...


class Scorer(Protocol):
    """Predicts, without calling any model, how likely each is to answer a query well."""

    async def score(self, query: Query, pool: Sequence[ModelSpec]) -> Scores:
        """The prior for every model of `pool`, keyed by name; None where it knows nothing."""
        ...

    def knows(self, model: ModelSpec) -> bool:
        """Whether the prior of `model` is its own prediction, and not the pool file's `prior` passed on."""
        ...


class Method(Protocol):
    """Anything that answers a query: RouteMoA, one model alone, and every rival."""

    @property
    def name(self) -> str:
        """What traces, tables and the API call it."""
        ...

    def stream(self, query: Query) -> AsyncGenerator[Event, None]:
        """Yield what happens, from Started to Done; raise RouteMoAError."""
        ...

    async def answer(self, query: Query) -> Answer:
        """The fold of `stream`."""
        ...
