"""The plug-in points: the protocols that you can implement yourself. `examples/` has one of each."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol, runtime_checkable

from msgspec import Struct

from routemoa.core.events import Event
from routemoa.core.trace import Answer
from routemoa.core.types import Address, Completion, ModelSpec, Purpose, Query, Request, Scores, Thinking
from routemoa.core.usage import Usage

__all__ = ["CallRecorder", "CallResult", "CallStart", "Client", "EventObserver", "Method", "Runtime", "Scorer"]


class Client(Protocol):
    """Calls models. `clients.http` has the HTTP client, `testing` a scripted one."""

    def stream(self, model: ModelSpec, request: Request) -> AsyncGenerator[str | Thinking | Completion, None]:
        """Yield pieces of the answer as they come, then exactly one Completion with the whole.

        Thoughts are no part of the answer: a client may yield `Thinking` while they come. Where the Completion's text
        is not what the pieces were, the Completion holds.

        Closing the iterator early (or cancelling the task) ends the call at the endpoint as well.

        Raises:
            ModelError: there is no answer, or its rest is lost.
        """
        ...

    async def close(self) -> None:
        """Release connections and processes."""
        ...


class Scorer(Protocol):
    """Predicts how likely each model is to answer a query well, without calling any."""

    async def score(self, query: Query, pool: Sequence[ModelSpec]) -> Scores:
        """Return the prior of every model of `pool`, keyed by name; None where it is unknown."""
        ...

    def knows(self, model: ModelSpec) -> bool:
        """Return whether the prior of `model` is the scorer's own prediction, not the pool file's `prior`."""
        ...


class Method(Protocol):
    """A way to answer queries: RouteMoA, one model alone, and every baseline."""

    @property
    def name(self) -> str:
        """The method's name in traces, tables and the API."""
        ...

    def stream(self, query: Query, recorder: CallRecorder | None = None) -> AsyncGenerator[Event, None]:
        """Yield what happens, from Started to Done; every call is reported to `recorder`. Raises RouteMoAError."""
        ...

    async def answer(self, query: Query) -> Answer:
        """Return the final text and its trace. Raises RouteMoAError."""
        ...


class CallStart(Struct, frozen=True):
    """A call that is about to be made."""

    model: str
    purpose: Purpose
    max_cost: float | None
    """The most dollars that the call can cost; None is unknown."""
    endpoint: str | None = None
    """The name of the endpoint that is called, where the member has several."""


class CallResult(Struct, frozen=True):
    """How a call ended."""

    usage: Usage
    """The provider's own figures; None where it gave none."""
    cost: float | None
    """Dollars by the provider's figures; None is unknown."""
    charged: float | None
    """Dollars counted against budgets: the cost; for a cancelled stream what it produced; else the most it can be."""
    seconds: float
    outcome: str
    """Either "ok", "cut" for a call that we cancelled, or the value of a FailureKind."""
    note: str = ""
    """What was wrong with the endpoint's figures."""
    tokens: int = 0
    """Of the prompt and the answer: as the endpoint counted, else an estimate of what was sent and had come."""


class CallRecorder(Protocol):
    """Records the calls of one request and holds them to a budget: a tenant's share of the ledger."""

    @property
    def has_budget(self) -> bool:
        """Return whether there is a budget, so that no call may be open-ended or without a price."""
        ...

    async def start(self, call: CallStart) -> int:
        """Record that a call is about to be made, reserve its worst case, and return its number.

        Raises:
            BudgetExceeded: the call does not fit; it must not be made.
        """
        ...

    def finish(self, number: int, result: CallResult) -> None:
        """Settle the call that `start` gave this number; never waits."""
        ...


@runtime_checkable
class EventObserver(Protocol):
    """A recorder that also follows the method whose calls it records."""

    def observe(self, event: Event) -> None:
        """Take an event as it happens; never waits."""
        ...


class Runtime(Protocol):
    """Serves the models whose endpoint is "local"."""

    async def address(self, model: ModelSpec) -> Address:
        """Load the model if need be and return where it listens. Raises ModelError."""
        ...

    async def close(self) -> None:
        """End every process and free the memory."""
        ...
