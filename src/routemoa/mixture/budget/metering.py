"""Wraps a client for one request: reserves and settles budget, retries, enforces the time limit, records calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from functools import cache
from typing import cast

from msgspec import structs

from routemoa.clients.endpoints.memory import MemberMemory, memory_of
from routemoa.clients.endpoints.placed_call import PlacedCall
from routemoa.clients.endpoints.placement import hash_prefix
from routemoa.clients.protocol.dialect import KEPT
from routemoa.clients.retry import AttemptClient, Retry, with_retries
from routemoa.core.errors import BudgetExceeded, ConfigError, ModelError, Unaffordable
from routemoa.core.protocols import CallRecorder, CallStart, Client
from routemoa.core.types import Completion, Limits, Message, ModelSpec, Purpose, Request, Thinking
from routemoa.core.usage import Usage
from routemoa.mixture.budget.account import Account, Reservation
from routemoa.mixture.budget.deadline import Deadline
from routemoa.mixture.budget.metered_call import NO_USAGE, MeteredCall
from routemoa.mixture.budget.plausibility import call_bounds

__all__ = ["MeteredClient"]

Pieces = AsyncGenerator[str | Thinking | Completion, None]


class MeteredClient:
    """The client of one request.

    Args:
        client: makes the calls; of an `AttemptClient` each attempt is reserved and settled.
        limits: what the request may take.
        recorder: records the calls, if any does.
    """

    def __init__(
        self,
        client: Client,
        limits: Limits = Limits(),  # noqa: B008  (frozen)
        recorder: CallRecorder | None = None,
    ) -> None:
        self.limits = limits
        self.deadline = Deadline(limits.max_seconds)
        self.account = Account(limits, bounded=recorder is not None and recorder.has_budget)
        self.recorder = recorder
        self.refusal: BudgetExceeded | ConfigError | None = None
        """Why the last call that did not fit was not made."""
        self.unpriced = False
        """Whether a call was made whose cost is unknown."""
        self._counted: list[Usage] = []
        self.usage_estimated = False
        """Whether a part of `counted` is an estimate."""
        memory = memory_of(client)
        self.memory = memory or MemberMemory()
        """What is known of the members' endpoints: nothing, where the client remembers nothing."""
        self.remembers = memory is not None
        self.conversation: Sequence[Message] = ()
        """What the request asks, where its calls say more: all of them go where the beginning of this is cached."""
        self.awaited: dict[MeteredCall, ModelSpec] = {}
        """Calls that wait for their first token at one of several endpoints of their member, and which."""
        self._client = client
        self._attempts = cast(AttemptClient, client) if _makes_attempts(type(client)) else None

    @property
    def charged(self) -> float | None:
        """Dollars counted against the limits; None where a call without a price was made."""
        return None if self.unpriced else self.account.spent

    @property
    def counted(self) -> Usage:
        """Return the tokens of all calls that have ended, estimated where an endpoint reported none."""
        return sum(self._counted, NO_USAGE)

    async def close(self) -> None:
        """Do nothing: the wrapped client is shared and stays open."""

    def stream(
        self,
        model: ModelSpec,
        request: Request,
        may_repeat: Callable[[], bool] = lambda: True,
        hedge_after: float | None = None,
    ) -> Pieces:
        """Yield the client's stream, each attempt of it metered.

        Args:
            model: the member to call.
            request: the call.
            may_repeat: asked before a failed attempt is repeated: false where another member can be asked instead.
            hedge_after: seconds without a first token after which a member is called at a second endpoint as well,
                where it has several.

        Raises:
            Unaffordable: the call does not fit into what is left; it was not made.
            ModelError: as the client raises it; ModelTimeout also where the request's time is over.
        """
        client = self._attempts
        if client is None:
            return self._attempt(model, request, self._client.stream)
        retry = self._new_retry(client, model)
        retry.may_repeat = may_repeat

        def attempt(place: ModelSpec, purpose: Purpose) -> Pieces:
            tried = structs.replace(request, purpose=purpose) if purpose != request.purpose else request
            return self._attempt(place, tried, lambda m, r: client.attempt(m, r, retry.deadline))

        def purpose() -> Purpose:
            return "retry" if retry.failures else request.purpose

        if not model.endpoints:
            return with_retries(lambda: attempt(model, purpose()), retry, self.deadline.at)
        return self._stream_placed(model, request, retry, attempt, hedge_after)

    def _stream_placed(
        self,
        model: ModelSpec,
        request: Request,
        retry: Retry,
        attempt: Callable[[ModelSpec, Purpose], Pieces],
        hedge_after: float | None,
    ) -> Pieces:
        """Yield the stream of a member with several endpoints, each attempt at one of them."""
        call = PlacedCall(self.memory, model, hash_prefix(self.conversation or request.messages))

        def attempt_at(place: ModelSpec, is_hedge: bool) -> Pieces:
            again = retry.failures or call.failures
            return attempt(place, "hedge" if is_hedge else "retry" if again else request.purpose)

        def place() -> Pieces:
            if hedge_after is None:
                return call.attempt(lambda place: attempt_at(place, False))
            return call.race(attempt_at, hedge_after)

        return with_retries(place, retry, self.deadline.at, call.moves_on)

    def awaited_places(self, model: ModelSpec) -> list[ModelSpec]:
        """Return the endpoints of a member at which this request waits for a first token; else the member itself."""
        return [place for place in self.awaited.values() if place.name == model.name] if model.endpoints else [model]

    def _new_retry(self, client: AttemptClient, model: ModelSpec) -> Retry:
        return client.new_retry(model)

    def dropped_parameters(self, model: ModelSpec, request: Request) -> list[str]:
        """Return the caller's sampling parameters that the member is not sent, since its endpoint refuses them."""
        if not request.parameters:
            return []
        dialect, parameters = self.memory.dialect(model), request.parameters
        dropped = [k for k, v in parameters.items() if k in model.omit or (k not in KEPT and dialect.drops(k, v))]
        return [name for name in dropped if name not in model.parameters]

    async def open(
        self, model: ModelSpec, request: Request, *, prompt_tokens: int | None = None, answers: int | None = 1
    ) -> MeteredCall:
        """Reserve a call.

        Args:
            model: to call.
            request: to send.
            prompt_tokens: of the prompt at most, where the request does not hold it.
            answers: how many are asked for; None where the prompt or the answers have no bound.

        Raises:
            Unaffordable: it does not fit into what is left.
        """
        try:
            reservation = await self._reserve(model, request, prompt_tokens)
        except (BudgetExceeded, ConfigError) as e:
            self.refusal = e
            raise Unaffordable(model.name, e) from e
        bounds = call_bounds(model, reservation, answers=answers)
        if self.recorder is None:
            return MeteredCall(self, model, reservation, bounds, None)
        try:
            number = await self.recorder.start(
                CallStart(model.name, request.purpose, reservation.max_cost, model.place)
            )
        except BudgetExceeded as e:
            self._release(reservation)
            self.refusal = e
            raise Unaffordable(model.name, e) from e
        except BaseException:
            self._release(reservation)
            raise
        return MeteredCall(self, model, reservation, bounds, number)

    async def _reserve(self, model: ModelSpec, request: Request, prompt_tokens: int | None) -> Reservation:
        """Reserve a call. Raises BudgetExceeded, ConfigError."""
        return self.account.reserve(model, request, prompt_tokens=prompt_tokens)

    def _release(self, reservation: Reservation) -> None:
        """Release what was reserved for a call that was not made after all."""
        self.account.release(reservation)

    def count(self, usage: Usage, *, is_estimated: bool) -> None:
        """Add the tokens of a call that has ended; those that its endpoint did not report are estimated."""
        self.usage_estimated |= is_estimated
        self._counted.append(usage)

    def settle(self, reservation: Reservation, cost: float | None, tokens: int | None) -> None:
        """Count what a call came to: `cost` in dollars, `tokens` of output; where one is unknown, its most counts."""
        self.account.settle(reservation, cost, tokens)

    async def _attempt(
        self, model: ModelSpec, request: Request, call: Callable[[ModelSpec, Request], Pieces]
    ) -> Pieces:
        """Make one attempt: reserved before, ended in time, settled after."""
        if self.deadline.seconds_left == 0.0:
            raise self.deadline.timeout(model)
        metered = await self.open(model, request)
        try:
            async with aclosing(call(model, metered.request)) as pieces:
                while (piece := await self._next(model, pieces)) is not None:
                    yield metered.add(piece)
        except ModelError as e:
            metered.fail(e)
            raise
        finally:
            metered.close()

    async def _next(self, model: ModelSpec, pieces: Pieces) -> str | Thinking | Completion | None:
        """Return the next piece, in time; None at the end."""
        if self.deadline.limit is None:
            return await anext(pieces, None)
        try:
            async with asyncio.timeout_at(self.deadline.at):
                return await anext(pieces, None)
        except TimeoutError as e:
            raise self.deadline.timeout(model) from e


@cache
def _makes_attempts(kind: type) -> bool:
    """Return whether a class is an `AttemptClient`: Python 3.11 takes 15 µs to look."""
    return issubclass(kind, AttemptClient)
