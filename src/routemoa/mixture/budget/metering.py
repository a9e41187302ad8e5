"""Wraps a client for one request: reserves and settles budget, retries, enforces the time limit, records calls."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from functools import cache
from time import perf_counter
from typing import cast

from msgspec import structs

from routemoa.clients.dialect import KEPT
from routemoa.clients.memory import MemberMemory, memory_of
from routemoa.clients.placed_call import PlacedCall
from routemoa.clients.placement import hash_prefix
from routemoa.clients.retry import AttemptClient, Retry, with_retries
from routemoa.core.errors import BudgetExceeded, ConfigError, ModelError, Unaffordable
from routemoa.core.media import USUAL_SHARE
from routemoa.core.protocols import CallRecorder, CallResult, CallStart, Client
from routemoa.core.quoted import Quoted
from routemoa.core.types import CHARACTERS_PER_TOKEN, Completion, Limits, Message, ModelSpec, Purpose, Request, Thinking
from routemoa.core.usage import Usage
from routemoa.mixture.budget.account import Account, Reservation
from routemoa.mixture.budget.deadline import Deadline
from routemoa.mixture.budget.plausibility import UsageBounds, bound_usage, call_bounds

__all__ = ["MeteredCall", "MeteredClient", "estimate_usage"]

LOG = logging.getLogger("routemoa.usage")
NO_USAGE = Usage(0, 0, 0, 0)
"""Of a call that was never answered."""
CANCELLED = "cut"
"""The outcome of a call that we cancelled, as ledgers have it."""

Pieces = AsyncGenerator[str | Thinking | Completion, None]

_warned: set[str] = set()
"""Models whose figures were too large: the log says so once."""


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
        self.counted = NO_USAGE
        """The tokens of all calls that have ended, estimated where an endpoint reported none."""
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

    def count(self, usage: Usage, request: Request, characters: int) -> None:
        """Add the tokens of a call that has ended; what its endpoint did not report is estimated (`estimate_usage`)."""
        filled = fill_usage(usage, request, characters)
        self.usage_estimated |= filled is not usage
        self.counted += filled

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


class MeteredCall:
    """One call under way: its reservation and what has come of it. It must be closed, however it ends.

    A call that is closed with neither a completion nor a failure was cancelled.
    """

    def __init__(
        self,
        client: MeteredClient,
        model: ModelSpec,
        reservation: Reservation,
        bounds: UsageBounds,
        number: int | None,
    ) -> None:
        self.request = reservation.request
        self._client, self._model, self._reservation, self._number = client, model, reservation, number
        self._bounds = bounds
        self._started = perf_counter()
        self._began = client.memory.clock()
        self._produced = 0  # characters of the answer and of thoughts
        self._usage: Usage | None = None
        self._outcome = CANCELLED
        self._waiting = client.memory.start_waiting(model)
        if model.place is not None:
            client.awaited[self] = model

    def add(self, piece: str | Thinking | Completion) -> str | Thinking | Completion:
        """Add a piece of the answer, or its end; return it, with the usage within its bounds."""
        if isinstance(piece, Completion):
            has_answered = bool(piece.text or piece.tool_calls) or piece.thought_length > 0
            usage = self.complete(piece.usage, has_answered=has_answered)
            return structs.replace(piece, usage=usage, endpoint=self._model.place)
        if self._produced == 0:
            self.answered()
        self._produced += piece.characters if isinstance(piece, Thinking) else len(piece)
        return piece

    def answered(self) -> None:
        """Note that the endpoint answers, or that its answer is complete, so that others may call it, too."""
        self._client.memory.succeed(self._model, self._began)
        self._stop_waiting()

    def _stop_waiting(self) -> None:
        self._waiting.end()
        if self._model.place is not None:
            self._client.awaited.pop(self, None)

    def complete(self, usage: Usage, *, has_answered: bool = True) -> Usage:
        """Note that the answer is complete, and what the endpoint counted; return that within its bounds."""
        self.answered()
        self._usage, self._outcome = self._bound(usage, has_answered=has_answered), "ok"
        return self._usage

    def fail(self, error: ModelError) -> None:
        """Note that the call failed. Refused or never sent: nothing was used; else what the endpoint says, if it does.

        The usage of `error` is brought within its bounds.
        """
        self._outcome = error.kind.value
        if self._client.remembers:
            self._client.memory.fail(self._model, error, self._began)
        if error.usage is not None:
            unused = error.usage.is_zero and not error.produced
            error.usage = NO_USAGE if unused else self._bound(error.usage, has_answered=error.produced)
            self._usage = error.usage
        elif not error.may_be_billed:
            self._usage = NO_USAGE

    def _bound(self, usage: Usage, *, has_answered: bool) -> Usage:
        bounded = bound_usage(self._model, usage, self._bounds, has_answered=has_answered)
        name = self._model.name
        if bounded.problem and name not in _warned:
            _warned.add(name)
            figures = Quoted(bounded.problem, "left out")
            LOG.warning("model %s: its endpoint's figures cannot be right and are bounded: %s", name, figures)
        return bounded

    def close(self) -> None:
        """Settle the call.

        The limits count never less than it can have used; a recorder is charged what a cancelled stream produced.
        """
        self._stop_waiting()
        client, reservation = self._client, self._reservation
        usage = self._usage or Usage()
        cost = 0.0 if usage is NO_USAGE else self._model.cost(usage)
        client.settle(reservation, cost, usage.completion_tokens)
        if self._produced or self._outcome in (CANCELLED, "ok") or self._usage is not None:
            client.count(usage, reservation.request, self._produced)
        client.unpriced |= cost is None and reservation.max_cost is None
        if client.recorder is None or self._number is None:
            return
        charged = self._charge() if cost is None else cost
        seconds = perf_counter() - self._started
        filled = fill_usage(usage, reservation.request, self._produced)
        tokens = (filled.prompt_tokens or 0) + (filled.completion_tokens or 0)
        result = CallResult(usage, cost, charged, seconds, self._outcome, usage.problem, tokens)
        client.recorder.finish(self._number, result)

    def _charge(self) -> float | None:
        """Return the dollars to charge for a call of unknown cost, at most what was reserved; None is unknown."""
        most = self._reservation.max_cost
        if self._outcome == "ok":
            return most
        produced = self._model.cost(estimate_usage(self._reservation.request, self._produced))
        return produced if most is None else most if produced is None else min(produced, most)


@cache
def _makes_attempts(kind: type) -> bool:
    """Return whether a class is an `AttemptClient`: Python 3.11 takes 15 µs to look."""
    return issubclass(kind, AttemptClient)


def estimate_usage(request: Request, characters: int) -> Usage:
    """Estimate the tokens of a cancelled call from what was sent and had come: about four characters to a token."""
    prompt = sum(len(m.sent_text) for m in request.messages) // CHARACTERS_PER_TOKEN
    prompt += round(USUAL_SHARE * sum(m.media_tokens for m in request.messages))
    return Usage(max(1, prompt), characters // CHARACTERS_PER_TOKEN)


def fill_usage(usage: Usage, request: Request, characters: int) -> Usage:
    """Return the usage with an estimate in place of what the endpoint did not report; the same one if it did."""
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    if prompt is not None and completion is not None:
        return usage
    estimate = estimate_usage(request, characters)
    return structs.replace(
        usage,
        prompt_tokens=estimate.prompt_tokens if prompt is None else prompt,
        completion_tokens=estimate.completion_tokens if completion is None else completion,
    )
