"""The budget of a run that several workers share: a keeper leases parts of it, and they ask for more in time."""

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
    explain_shortage,
    max_output_tokens,
    max_prompt_tokens,
)
from routemoa.mixture.budget.run_client import RunClient

__all__ = ["LEASE_CALLS", "LEASE_SHARE", "MAX_LEASE_CALLS", "Grant", "LeasedRun", "Leases"]

LEASE_CALLS = 8
"""Calls of the largest cost that a worker is leased dollars for at once: they count as spent where it is lost."""
MAX_LEASE_CALLS = 32
"""The same while `LEASE_SHARE` of what is left is as much: fewer asks, and a worker that is lost costs no more."""
LEASE_SHARE = 0.02
WAIT = 0.2
"""Seconds until the keeper is asked again, while calls under way stand in the way."""
CALL_ROUNDING = 1e-6
"""Of a call's largest cost, which is leased on top: sums of floats are not exact."""
LEASE_ROUNDING = 1e-9
"""Of the limit, below which nothing is leased: sums of floats are not exact."""


class Grant(Struct, frozen=True):
    """What the keeper says to a worker that asks for dollars."""

    dollars: float | None
    """More that may be spent: None while calls under way may still leave something, 0 where they cannot."""
    left: float
    """Dollars of the run that were neither spent nor leased."""
    limit: float
    """Dollars of the whole run."""


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
        self._largest = 0.0
        """Dollars that a call has needed."""

    @property
    def workers(self) -> list[str]:
        """Return those that have, or had, a lease and are not lost."""
        return list(self._leases)

    def grant(self, worker: str, needed: float) -> Grant:
        """Lease a worker dollars for several calls that cost `needed` each at most."""
        limit, leased = self.limit or 0.0, sum(lease.left for lease in self._leases.values())
        left = max(0.0, limit * (1.0 - ROUNDING) - self.spent - leased)
        if left < needed:
            may_come = leased > limit * LEASE_ROUNDING and self.spent + needed <= limit
            return Grant(None if may_come else 0.0, left, limit)
        self._largest = max(self._largest, needed)
        calls = min(max(LEASE_CALLS, LEASE_SHARE * left / self._largest), MAX_LEASE_CALLS) if self._largest else 0
        dollars = min(left, calls * self._largest)
        self._leases[worker].left += dollars
        return Grant(dollars, left, limit)

    def give_back(self, worker: str, dollars: float, *, spent: float = 0.0) -> float:
        """Take back what a worker does not need; return the dollars that were leased to it.

        Args:
            worker: its name.
            dollars: what it gives back.
            spent: what it has spent so far in all.
        """
        lease = self._leases[worker]
        returned = min(dollars, lease.left)
        lease.left -= returned
        self._count(lease, spent)
        return returned

    def record(self, worker: str, dollars: float) -> None:
        """Note that a part of what a worker has spent is written down."""
        lease = self._leases[worker]
        lease.recorded += dollars
        self._count(lease, lease.recorded)

    def forfeit(self, worker: str) -> float:
        """Count the lease of a worker that was lost as spent; return the dollars that it left unrecorded."""
        lease = self._leases.pop(worker, _Lease())
        self.spent += lease.left
        return lease.left + (lease.spent - lease.recorded)

    def _count(self, lease: _Lease, spent: float) -> None:
        if (more := spent - lease.spent) > 0.0:
            self.spent += more
            lease.left, lease.spent = max(0.0, lease.left - more), spent


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
        self._asks: set[asyncio.Task[Grant]] = set()
        """Under way; more than one where a call was cancelled that had asked."""
        self._counted = 0.0
        """Dollars spent that the account does not hold any more."""
        self._granted = self._needed = 0.0
        """Dollars of the last grant, and of the call that asked for it."""

    @property
    def spent(self) -> float:
        """Return the dollars of all calls that have ended."""
        return self._counted + super().spent

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
                if self._spare > most:  # another call has asked meanwhile
                    continue
                ask = asyncio.create_task(self._ask(most, self._give_up_spare()))
                self._asks.add(ask)
                ask.add_done_callback(self._asks.discard)
                grant = await asyncio.shield(ask)  # where this call is cancelled, the dollars still come
                if grant.dollars is None:
                    await asyncio.sleep(WAIT)
                elif grant.dollars <= 0.0:
                    raise BudgetExceeded(explain_shortage(model, most, left=grant.left, limit=grant.limit))

    async def refill(self) -> bool:
        """Ask for as much again where half of it is gone, before a call has to wait; return whether that was asked."""
        if self._asking.locked() or self._spare >= self._granted / 2:
            return False
        async with self._asking:
            await self._ask(self._needed, 0.0)
        return True

    async def give_back(self) -> float:
        """Give up the dollars that are not reserved, those that were asked for included, and return them."""
        await asyncio.gather(*self._asks, return_exceptions=True)
        return self._give_up_spare()

    @property
    def _spare(self) -> float:
        return self.account.remaining.cost or 0.0

    async def _ask(self, most: float, returned: float) -> Grant:
        """Ask the keeper once for the dollars of a call, and take them."""
        grant = await self._lease(most * (1.0 + CALL_ROUNDING), returned)
        if grant.dollars:
            self._granted, self._needed = grant.dollars, most
            self._grow(grant.dollars)
        return grant

    def _give_up_spare(self) -> float:
        spare = self._spare
        self._grow(-spare)
        return spare

    def _grow(self, dollars: float) -> None:
        """Change the limit, and let the account count from nothing again: rounding would grow with what is spent."""
        account: Account = self.account
        account.limits = Limits(max_cost=max(0.0, (account.limits.max_cost or 0.0) - account.spent + dollars))
        self._counted += account.spent
        account.spent = 0.0
