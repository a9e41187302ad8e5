"""The budget of one worker of several: it spends what the job's keeper leases to it, and asks for more in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from msgspec import Struct

from routemoa.core.errors import BudgetExceeded
from routemoa.core.protocols import Client
from routemoa.core.types import Limits, ModelSpec, Request
from routemoa.mixture.budget.account import (
    DEFAULT_OUTPUT_TOKENS,
    Account,
    Reservation,
    max_output_tokens,
    max_prompt_tokens,
)
from routemoa.mixture.budget.run_client import RunClient

__all__ = ["Grant", "LeasedRun"]

WAIT = 0.2
"""Seconds until the keeper is asked again, while calls under way stand in the way."""
ROUNDING = 1e-6
"""Of a call's largest cost, which is leased on top: sums of floats are not exact."""


class Grant(Struct, frozen=True):
    """What the keeper says to a worker that asks for dollars."""

    dollars: float | None
    """More that may be spent: None while calls under way may still leave something, 0 where they cannot."""
    left: float
    """Dollars of the job that nothing is spent on or leased for."""
    limit: float
    """Dollars of the whole job."""


class LeasedRun(RunClient):
    """A `RunClient` whose limit grows as the keeper grants more.

    Args:
        client: makes the calls.
        lease: asks the keeper for the dollars of a call, and gives back at the same time what is leased and not
            reserved: two workers that each kept a part of a call's dollars would wait for each other for ever.
    """

    def __init__(self, client: Client, lease: Callable[[float, float], Awaitable[Grant]]) -> None:
        super().__init__(client, 0.0)
        self._lease = lease
        self._asking = asyncio.Lock()

    async def reserve(self, model: ModelSpec, request: Request) -> Reservation:
        """Reserve the most that a call can cost. Raises BudgetExceeded, ConfigError."""
        while True:
            try:
                return self.account.reserve(model, request, min_tokens=DEFAULT_OUTPUT_TOKENS)
            except BudgetExceeded:
                most = model.worst_cost(max_prompt_tokens(model, request), max_output_tokens(model, request)) or 0.0
                if self._spare > most:  # it is refused for something else than dollars
                    raise
            async with self._asking:
                if self._spare > most:  # another row has asked meanwhile
                    continue
                asking = asyncio.create_task(self._ask(most))
                grant = await asyncio.shield(asking)  # where this call is cancelled, the dollars still come
                if grant.dollars is None:
                    await asyncio.sleep(WAIT)
                elif grant.dollars <= 0.0:
                    raise BudgetExceeded(
                        f"${grant.left:,.4g} of ${grant.limit:,.4g} are left, and a call of {model.name} "
                        f"(${most:,.4g} at most) could pass the limit"
                    )

    def give_back(self) -> float:
        """Give up the dollars that are not reserved, and return them."""
        spare = self._spare
        self._grow(-spare)
        return spare

    @property
    def _spare(self) -> float:
        return self.account.remaining.cost or 0.0

    async def _ask(self, most: float) -> Grant:
        """Ask the keeper once for the dollars of a call, and take them."""
        grant = await self._lease(most * (1.0 + ROUNDING), self.give_back())
        self._grow(grant.dollars or 0.0)
        return grant

    def _grow(self, dollars: float) -> None:
        """Change the limit, and count from nothing again: what was spent is the keeper's to count."""
        account: Account = self.account
        account.limits = Limits(max_cost=max(0.0, (account.limits.max_cost or 0.0) - account.spent + dollars))
        account.spent = 0.0
