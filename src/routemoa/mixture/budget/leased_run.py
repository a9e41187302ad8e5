"""The budget of a run that several processes share: one grants parts of it, the others spend what they are granted."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable

from msgspec import Struct

from routemoa.core.errors import BudgetExceeded
from routemoa.core.protocols import Client
from routemoa.core.types import Limits, ModelSpec, Request
from routemoa.mixture.budget.account import (
    DEFAULT_OUTPUT_TOKENS,
    ROUNDING,
    Account,
    Reservation,
    max_output_tokens,
    max_prompt_tokens,
)
from routemoa.mixture.budget.run_client import RunClient

__all__ = ["LEASE_CALLS", "LeasedRun", "Leases"]

LEASE_CALLS = 8
"""Calls of the largest cost that a worker is leased dollars for at once."""
WAIT = 0.2
"""Seconds until more is asked for again, while other workers' calls stand in the way."""


class _Lease(Struct):
    """What one worker may spend and has spent, in dollars."""

    left: float = 0.0
    """That it may still spend, calls under way included."""
    spent: float = 0.0
    recorded: float = 0.0
    """Of what is spent, that outlives the worker."""


class Leases:
    """What the workers of a run may still spend. The law: what is spent and all leases never pass the limit.

    Args:
        limit: dollars for the whole run; None is no limit.
        spent: dollars of its earlier parts.
    """

    def __init__(self, limit: float | None, spent: float = 0.0) -> None:
        self.limit, self.spent = limit, spent
        self._leases: defaultdict[str, _Lease] = defaultdict(_Lease)

    def grant(self, worker: str, most: float, *, spent: float = 0.0, spare: float = 0.0) -> float | None:
        """Lease a worker dollars for calls that cost `most` each.

        Args:
            spent: what it has spent so far in all.
            spare: what it gives back of its lease.

        Returns:
            The dollars; None while other workers' calls stand in the way, 0 where too little is left.
        """
        self.give_back(worker, spare)
        self._count(worker, spent)
        lease, leased = self._leases[worker], sum(each.left for each in self._leases.values())
        left = (self.limit or 0.0) * (1.0 - ROUNDING) - self.spent
        granted = min(left - leased, LEASE_CALLS * most)
        if granted < most:
            return None if leased > lease.left and left - lease.left >= most else 0.0
        lease.left += granted
        return granted

    def give_back(self, worker: str, dollars: float) -> None:
        """Take back what a worker does not need."""
        lease = self._leases[worker]
        lease.left = max(0.0, lease.left - dollars)

    def record(self, worker: str, dollars: float) -> None:
        """Note that a part of what a worker has spent is written down."""
        lease = self._leases[worker]
        lease.recorded += dollars
        self._count(worker, lease.recorded)

    def forfeit(self, worker: str) -> float:
        """Count the lease of a worker that was lost as spent; return the dollars that it left unrecorded."""
        lease = self._leases.pop(worker, _Lease())
        self.spent += lease.left
        return lease.left + lease.spent - lease.recorded

    def _count(self, worker: str, spent: float) -> None:
        lease = self._leases[worker]
        if (more := spent - lease.spent) > 0.0:
            self.spent += more
            lease.left, lease.spent = max(0.0, lease.left - more), spent


class LeasedRun(RunClient):
    """A `RunClient` whose limit grows as more is granted.

    Args:
        client: makes the calls.
        lease: asks for dollars for calls of the cost that it is given first, and gives back the spare ones that it is
            given second; returns as `Leases.grant` does.
    """

    def __init__(self, client: Client, lease: Callable[[float, float], Awaitable[float | None]]) -> None:
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
                most *= 1.0 + 1e-9  # sums of floats are not exact
            async with self._asking:
                spare = self.account.remaining.cost or 0.0
                if spare > most:
                    continue  # another call has asked meanwhile
                self.shrink(spare)  # two workers that each keep too little for a call would wait for ever
                granted = await self._lease(most, spare)
                if granted is None:
                    await asyncio.sleep(WAIT)
                elif granted > 0.0:
                    self._grow(granted)
                elif self.account.reserved:
                    await self.wait_for_call()
                else:
                    raise BudgetExceeded(
                        f"the most that a call of {model.name} can cost, ${most:,.4g}, could pass the limit of the run"
                    )

    def shrink(self, dollars: float) -> None:
        """Give back dollars that are not reserved."""
        self._grow(-dollars)

    def _grow(self, dollars: float) -> None:
        account: Account = self.account
        account.limits = Limits(max_cost=(account.limits.max_cost or 0.0) + dollars)
