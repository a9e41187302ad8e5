"""Where one request's calls are made: reserved before, settled after, retried, ended in time, put down to a tab.

A Client like any other to the methods behind it, made anew for each request. The pure bookkeeping is `budget`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from math import inf
from time import monotonic, perf_counter

from msgspec.structs import replace

from routemoa.core.errors import (
    AllModelsFailed,
    BudgetExceeded,
    ConfigError,
    FailureKind,
    ModelError,
    ModelHTTPError,
    ModelTimeout,
    RouteMoAError,
    Unaffordable,
    Unreachable,
)
from routemoa.core.events import Done
from routemoa.core.protocols import CallRecorder, CallResult, CallStart, Client, Patient, Persistent
from routemoa.core.trace import Failure
from routemoa.core.types import CHARACTERS_PER_TOKEN, Completion, Limits, ModelSpec, Purpose, Request, Usage
from routemoa.mixture.budget.account import Account, Reservation

__all__ = ["MeteredCall", "MeteredClient", "Tries", "estimate_usage"]

NOTHING = Usage(0, 0, 0, 0)
"""What a call used that was never answered."""


class MeteredClient:
    """The client of one request.

    Args:
        client: makes the calls; one whose attempts can be made singly has each of them reserved and settled.
        contract: what the request may take.
        tab: whom the calls are put down to, if anybody.

    Attributes:
        started: `perf_counter()` at the request's start.
        deadline: on the clock of `monotonic()`, when the contract's time is over; None is no limit.
        refused: why the last call that did not fit was not made.
        unpriced: whether a call was made of which nobody knows what it costs.
    """

    def __init__(self, client: Client, contract: Limits = Limits(), tab: CallRecorder | None = None) -> None:  # noqa: B008
        self._client = client
        self._persistent = client if isinstance(client, Persistent) else None  # a slow question: asked once
        self.limits = contract
        self.account = Account(contract, bounded=tab is not None and tab.has_budget)
        self.recorder = tab
        self.started = perf_counter()
        self.refusal: BudgetExceeded | ConfigError | None = None
        self.unpriced = False
        limit = contract.max_seconds
        self.deadline = None if limit is None else monotonic() + limit

    @property
    def seconds_left(self) -> float | None:
        """Until the contract's time is over; None is no limit, and it is never below 0."""
        return None if self.deadline is None else max(0.0, self.deadline - monotonic())

    @property
    def charged(self) -> float | None:
        """Dollars that count against the contract; None where a call without a price was made."""
        return None if self.unpriced else self.account.spent

    def late(self, model: ModelSpec) -> ModelTimeout:
        """What there is to say of a call for which the contract's time was over."""
        return ModelTimeout(model.name, f"the contract's {self.limits.max_seconds:g} s were over")

    def done(self, finish: str | None, usage: Usage | None = None, cost: float | None = None) -> Done:
        """The query's end, now; `usage` and `cost` (dollars) are the aggregator's, if one was called."""
        return Done(perf_counter() - self.started, usage, cost, finish, self.charged)

    def nobody(self, failures: Sequence[Failure]) -> RouteMoAError:
        """Why nobody answered: nothing fitted into the contract or the tenant's budget, or else, all failed."""
        if self.refusal is not None and all(f.kind is FailureKind.UNAFFORDABLE for f in failures):
            return self.refusal
        return AllModelsFailed(failures)

    async def close(self) -> None:
        """The client is not this request's own: it stays open."""

    async def stream(self, model: ModelSpec, request: Request) -> AsyncGenerator[str | Completion, None]:
        """The client's stream, each attempt of it metered.

        Raises:
            Unaffordable: the call does not fit into what is left; it was not made.
            ModelError: as the client does; TimedOut also where the contract's time is over.
        """
        client = self._persistent
        if client is None:
            async with aclosing(self._attempt(model, request, lambda r: self._client.stream(model, r))) as pieces:
                async for piece in pieces:
                    yield piece
            return
        tries, begun = Tries(self, client, model), False
        while True:
            tried = replace(request, purpose=tries.purpose(request.purpose))
            try:
                attempt = self._attempt(model, tried, lambda r: client.attempt(model, r, tries.total))
                async with aclosing(attempt) as pieces:
                    async for piece in pieces:
                        begun = True
                        yield piece
                return
            except ModelError as e:
                await tries.failed(e, give_up=begun)

    async def _attempt(
        self, model: ModelSpec, request: Request, call: Callable[[Request], AsyncGenerator[str | Completion, None]]
    ) -> AsyncGenerator[str | Completion, None]:
        """One attempt, reserved, settled and ended in time."""
        if self.seconds_left == 0.0:
            raise self.late(model)
        metered = await MeteredCall.open(self, model, request)
        try:
            async with aclosing(call(metered.request)) as pieces:
                while (piece := await self._next(model, pieces)) is not None:
                    metered.take(piece)
                    yield piece
        except ModelError as e:
            metered.fail(e)
            raise
        finally:
            metered.close()

    async def _next(self, model: ModelSpec, pieces: AsyncGenerator[str | Completion, None]) -> str | Completion | None:
        """The next piece, in time; None at the end."""
        if self.deadline is None:
            return await anext(pieces, None)
        try:
            async with asyncio.timeout_at(self.deadline):
                return await anext(pieces, None)
        except TimeoutError as e:
            raise self.late(model) from e


class Tries:
    """The attempts of one call, each paid for by itself.

    Attributes:
        total: on the clock of `monotonic()`, when the client gives up on all of them. The contract's time, which may
            be over before, is the desk's to keep.
    """

    def __init__(self, desk: MeteredClient, client: Patient, model: ModelSpec) -> None:
        self.total = client.deadline()
        self._deadline = min(self.total, inf if desk.deadline is None else desk.deadline)
        self._client, self._model = client, model
        self._failures = 0
        self._last: ModelError | None = None

    def purpose(self, first: Purpose) -> Purpose:
        """What the next attempt is for."""
        return first if self._last is None else "retry"

    async def failed(self, error: ModelError, *, give_up: bool) -> None:
        """Wait before the next attempt; raises where there is to be none, what went wrong with the model."""
        if isinstance(error, Unaffordable):
            raise self._last or error  # that nothing is left for another try says less than why one is wanted
        self._failures, self._last = self._failures + 1, error
        await self._client.wait_before_retry(self._model, error, self._failures, self._deadline, give_up=give_up)


class MeteredCall:
    """One call under way: what is set aside for it, and what has come of it so far. `open` it, and `close` it always.

    A call that is closed with neither a completion nor a failure was cut by us.
    """

    def __init__(self, desk: MeteredClient, model: ModelSpec, held: Reservation, number: int | None) -> None:
        self.request = held.request
        self._desk, self._model, self._held, self._number = desk, model, held, number
        self._begun = perf_counter()
        self._text: list[str] = []
        self._usage: Usage | None = None
        self._outcome = "cut"

    @classmethod
    async def open(
        cls, desk: MeteredClient, model: ModelSpec, request: Request, *, read: int | None = None
    ) -> MeteredCall:
        """Reserve a call. Raises Unaffordable: it does not fit."""
        try:
            held = desk.account.reserve(model, request, prompt_tokens=read)
        except (BudgetExceeded, ConfigError) as e:
            desk.refusal = e
            raise Unaffordable(model.name, e) from e
        number = None
        if desk.recorder is not None:
            try:
                number = await desk.recorder.start(CallStart(model.name, request.purpose, held.max_cost))
            except BudgetExceeded as e:
                desk.account.release(held)
                desk.refusal = e
                raise Unaffordable(model.name, e) from e
            except BaseException:
                desk.account.release(held)
                raise
        return cls(desk, model, held, number)

    def take(self, piece: str | Completion) -> None:
        """A piece of the answer, or its end."""
        if isinstance(piece, Completion):
            self._usage, self._outcome = piece.usage, "ok"
        else:
            self._text.append(piece)

    def count(self, usage: Usage) -> None:
        """The answer is complete, and this is what the provider counted."""
        self._usage, self._outcome = usage, "ok"

    def fail(self, error: ModelError) -> None:
        """The call failed. Refused, or never sent: nothing was used; else nobody knows."""
        self._outcome = error.kind.value
        if isinstance(error, ModelHTTPError) or (isinstance(error, Unreachable) and not error.sent):
            self._usage = None if error.produced else NOTHING

    def close(self) -> None:
        """Settle. What the contract counts is never less than what the call can have used; what a tab is charged for a
        stream that was cut is what it produced."""
        usage = self._usage or Usage()
        cost = 0.0 if usage is NOTHING else self._model.cost(usage)
        self._desk.account.settle(self._held, cost, usage.completion_tokens)
        self._desk.unpriced |= cost is None and self._held.max_cost is None
        if self._desk.recorder is None or self._number is None:
            return
        charged = cost
        if cost is None and self._outcome != "ok":
            charged = self._model.cost(estimate_usage(self._held.request, "".join(self._text)))
        if charged is None:
            charged = self._held.max_cost
        elif cost is None and self._held.max_cost is not None:
            charged = min(charged, self._held.max_cost)
        seconds = perf_counter() - self._begun
        self._desk.recorder.finish(self._number, CallResult(usage, cost, charged, seconds, self._outcome))


def estimate_usage(request: Request, text: str) -> Usage:
    """Tokens of a call that was cut, by what was sent and had come: about four characters to a token, an estimate."""
    read = sum(len(m.content) for m in request.messages) // CHARACTERS_PER_TOKEN
    return Usage(max(1, read), len(text) // CHARACTERS_PER_TOKEN)
