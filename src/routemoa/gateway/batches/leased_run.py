"""The budget of one worker of several: it spends what the job's keeper leases to it, and asks for more in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

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

__all__ = ["LeasedRun"]

WAIT = 0.2
"""Seconds until the keeper is asked again, while other workers' calls stand in the way."""


class LeasedRun(RunClient):
    """A `RunClient` whose limit grows as the keeper grants more.

    Args:
        client: makes the calls.
        lease: asks for dollars, and returns how many more may be spent: None while other workers' calls stand in the
            way, 0 where nothing is left.
    """

    def __init__(self, client: Client, lease: Callable[[float], Awaitable[float | None]]) -> None:
        super().__init__(client, 0.0)
        self._lease = lease
        self._asking = asyncio.Lock()

    async def reserve(self, model: ModelSpec, request: Request) -> Reservation:
        """Reserve the most that a call can cost. Raises BudgetExceeded, ConfigError."""
        while True:
            try:
                return self.account.reserve(model, request, min_tokens=DEFAULT_OUTPUT_TOKENS)
            except BudgetExceeded as e:
                refused = e
            async with self._asking:
                most = model.worst_cost(max_prompt_tokens(model, request), max_output_tokens(model, request)) or 0.0
                if (self.account.remaining.cost or 0.0) > most:
                    continue  # another row has asked meanwhile
                granted = await self._lease(most)
                if granted is None:
                    await asyncio.sleep(WAIT)
                elif granted > 0.0:
                    self._grow(granted)
                else:
                    raise BudgetExceeded(str(refused)) from refused

    def shrink(self, dollars: float) -> None:
        """Give back dollars that are not reserved."""
        self._grow(-dollars)

    def _grow(self, dollars: float) -> None:
        account: Account = self.account
        account.limits = Limits(max_cost=(account.limits.max_cost or 0.0) + dollars)
