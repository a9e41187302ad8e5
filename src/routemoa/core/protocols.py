"""The seams: what may be replaced by something else. Nothing else is pluggable."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol, runtime_checkable

from msgspec import Struct

from routemoa.core.errors import ModelError
from routemoa.core.events import Event
from routemoa.core.trace import Answer
from routemoa.core.types import Address, Completion, ModelSpec, Purpose, Query, Request, Scores, Usage

__all__ = ["CallRecorder", "CallResult", "CallStart", "Client", "Method", "Patient", "Persistent", "Runtime", "Scorer"]


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


class Patient(Protocol):
    """A client that says how long its calls may take, and when to try one again."""

    def deadline(self) -> float:
        """On the clock of `monotonic()`, when a call that begins now has to be over, all attempts together."""
        ...

    async def wait_before_retry(
        self, model: ModelSpec, error: ModelError, failures: int, deadline: float, *, give_up: bool
    ) -> None:
        """Wait before the next attempt, or raise `error` when there is to be none."""
        ...


@runtime_checkable
class Persistent(Patient, Protocol):
    """A client whose calls can be made one attempt at a time, so that each can be paid for."""

    def attempt(self, model: ModelSpec, request: Request, deadline: float) -> AsyncGenerator[str | Completion, None]:
        """`Client.stream`, tried once, until `deadline` on the clock of `monotonic()`."""
        ...


class CallStart(Struct, frozen=True):
    """A call that is about to be made; `most` is what it can cost, in dollars, None where nobody knows."""

    model: str
    purpose: Purpose
    max_cost: float | None


class CallResult(Struct, frozen=True):
    """What became of a call.

    `usage` and `cost` (dollars) are the provider's own figures, None where it gave none; `charged` is what is counted
    against budgets: the cost, for a stream that was cut what it produced, else the most that it can have been.
    """

    usage: Usage
    cost: float | None
    charged: float | None
    seconds: float
    outcome: str  # "ok", "cut" where we ended it, or the name of the error


class CallRecorder(Protocol):
    """Whom a request's calls are put down to: a tenant's budgets and the ledger."""

    @property
    def has_budget(self) -> bool:
        """Whether there is a budget, so that no call may be open-ended or without a price."""
        ...

    async def start(self, opening: CallStart) -> int:
        """Write down that a call is about to be made, and set its most aside; raise OverBudget."""
        ...

    def finish(self, number: int, closing: CallResult) -> None:
        """Settle the call that `open` gave this number; never waits."""
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

    def stream(self, query: Query, tab: CallRecorder | None = None) -> AsyncGenerator[Event, None]:
        """Yield what happens, from Started to Done; raise RouteMoAError. Calls are put down to `tab`, if any."""
        ...

    async def answer(self, query: Query) -> Answer:
        """The fold of `stream`."""
        ...
