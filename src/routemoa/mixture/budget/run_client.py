"""The client of a run of many questions, such as `routemoa bench`: one limit in dollars over all of its calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from routemoa.clients.retry import AttemptClient, PatientClient, Retry
from routemoa.core.errors import BudgetExceeded, Unaffordable
from routemoa.core.protocols import CallRecorder, Client
from routemoa.core.types import Completion, Limits, ModelSpec, Request, Thinking
from routemoa.mixture.budget.account import DEFAULT_OUTPUT_TOKENS, Account, Reservation
from routemoa.mixture.budget.metering import MeteredClient

__all__ = ["RunCall", "RunClient"]


class RunClient:
    """A `Client` whose calls share one limit and are recorded.

    The most that a call can cost is reserved before each attempt. A call that does not fit waits while running calls
    may still give back a part of theirs. No answer is shortened to fit.

    Args:
        client: makes the calls.
        max_cost: dollars for the whole run; None is no limit.
        spent: dollars of the run's earlier parts.
        new_recorder: called for each call; returns what records it, if anything does.
        on_unknown_cost: called with the dollars counted for an attempt whose cost is unknown.
    """

    def __init__(
        self,
        client: Client,
        max_cost: float | None = None,
        *,
        spent: float = 0.0,
        new_recorder: Callable[[ModelSpec], CallRecorder | None] = lambda _: None,
        on_unknown_cost: Callable[[float], None] = lambda _: None,
    ) -> None:
        self.account = Account(Limits(max_cost=max_cost))
        self.account.spent = spent
        self.client = client
        self.new_recorder = new_recorder
        self.on_unknown_cost = on_unknown_cost
        self._call_ended = asyncio.Event()

    @property
    def spent(self) -> float:
        """Return the dollars of all calls that have ended, and of the run's earlier parts."""
        return self.account.spent

    def stream(self, model: ModelSpec, request: Request) -> AsyncGenerator[str | Thinking | Completion, None]:
        """Yield the client's stream.

        Raises:
            ModelError: as the client raises it.
            BudgetExceeded: the call could pass the limit; it was not made.
            ConfigError: the model has no price, and there is a limit.
        """
        return self.open_call(model).stream(model, request)

    def open_call(self, model: ModelSpec) -> RunCall:
        """Return the client of one call, which knows what this call came to."""
        return RunCall(self, self.new_recorder(model))

    async def close(self) -> None:
        """Close the wrapped client."""
        await self.client.close()

    async def reserve(self, model: ModelSpec, request: Request) -> Reservation:
        """Reserve the most that a call can cost; wait while only running calls stand in the way.

        Raises:
            BudgetExceeded: the call could pass the limit.
            ConfigError: the model has no price, and there is a limit.
        """
        while True:
            try:
                return self.account.reserve(model, request, min_tokens=DEFAULT_OUTPUT_TOKENS)
            except BudgetExceeded as e:
                if not e.temporary:
                    raise
            await self._call_ended.wait()

    def settle(self, reservation: Reservation, cost: float | None, tokens: int | None) -> float:
        """Count what an attempt came to, let waiting calls try again, and return the dollars that count."""
        charged = self.account.settle(reservation, cost, tokens)
        ended, self._call_ended = self._call_ended, asyncio.Event()
        ended.set()
        if cost is None and charged:
            self.on_unknown_cost(charged)
        return charged


class RunCall(MeteredClient):
    """One call of a run, with its repeated attempts."""

    def __init__(self, run: RunClient, recorder: CallRecorder | None) -> None:
        super().__init__(run.client, run.account.limits, recorder)
        self.account = run.account
        self.dollars = 0.0
        """Counted against the limit for this call: its cost, or the most that it can have cost."""
        self._run = run

    async def stream(
        self,
        model: ModelSpec,
        request: Request,
        may_repeat: Callable[[], bool] = lambda: True,
        hedge_after: float | None = None,
    ) -> AsyncGenerator[str | Thinking | Completion, None]:
        """Yield the client's stream. Raises ModelError, BudgetExceeded, ConfigError."""
        try:
            async with aclosing(super().stream(model, request, may_repeat, hedge_after)) as pieces:
                async for piece in pieces:
                    yield piece
        except Unaffordable as e:  # the end of the run, not a model that fails
            raise e.why from e

    def _new_retry(self, client: AttemptClient, model: ModelSpec) -> Retry:
        """Return the attempts of a call that no other model can take over: a run waits, and can be resumed."""
        return client.new_patient_retry(model) if isinstance(client, PatientClient) else client.new_retry(model)

    async def _reserve(self, model: ModelSpec, request: Request, prompt_tokens: int | None) -> Reservation:
        return await self._run.reserve(model, request)

    def _release(self, reservation: Reservation) -> None:
        self._run.settle(reservation, 0.0, 0)

    def settle(self, reservation: Reservation, cost: float | None, tokens: int | None) -> None:
        """Count what an attempt came to."""
        self.dollars += self._run.settle(reservation, cost, tokens)
