"""A ledger of one gateway whose budgets hold for several: each call fits the ledger first, and then what all share.

While the store of what they share is away, calls under a budget fail, and all others are made.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping
from contextlib import suppress

from routemoa.core.access.tenants import find_windows
from routemoa.ledger.budgets.budget_check import TenantBudgets, WindowKey
from routemoa.ledger.schema import StoreError
from routemoa.ledger.sharing.budget_exchange import BudgetExchange
from routemoa.ledger.sharing.budget_sharing import BudgetStore
from routemoa.ledger.sqlite.writer import Writer
from routemoa.ledger.steps import FinishedCall, StartedCall, WithdrawnCall
from routemoa.ledger.write_state import WriteState

__all__ = ["SharedLedger"]


class SharedLedger:
    """A `LedgerBackend`; `exchange.watch` must run.

    Args:
        ledger: of this gateway.
        store: holds what all ledgers have spent.
        budgets: those that are kept.
        clock: returns seconds since the epoch.
    """

    def __init__(self, ledger: Writer, store: BudgetStore, budgets: TenantBudgets, clock: Callable[[], float]) -> None:
        self.exchange = BudgetExchange(ledger, store, budgets, clock)
        self._ledger, self._budgets, self._clock = ledger, budgets, clock

    @property
    def used(self) -> Mapping[WindowKey, int]:
        """The picodollars spent and reserved in the windows seen so far: of all ledgers where that is known."""
        return ChainMap(self.exchange.used, self._ledger.used)

    @property
    def state(self) -> WriteState:
        """Return whether the ledger can be written."""
        return self._ledger.state

    @property
    def backlog(self) -> tuple[int, float]:
        """Return how many steps are not written yet, and for how many seconds the oldest of them has waited."""
        return self._ledger.backlog

    async def commit(self, step: StartedCall | None) -> None:
        """Queue a step and wait until it is committed, and fits the budgets of all gateways.

        None waits for the steps queued before.

        Raises:
            BudgetExceeded: the call does not fit.
            StoreError: the step cannot be written; or the shared store is away, and the call is under a budget.
        """
        await self._ledger.commit(step)
        if step is None:
            await self.exchange.settle()
            return
        if step.is_free or not (limits := list_limits(self._budgets, step)):
            return
        try:
            await self.exchange.take(step, limits)
        except BaseException:
            with suppress(StoreError):  # closing the store settles what is open
                self.enqueue(WithdrawnCall(step))
            raise

    def enqueue(self, item: FinishedCall | WithdrawnCall) -> None:
        """Write this soon; never waits. Raises StoreError when the store is closed."""
        self._ledger.enqueue(item)
        self.exchange.end(item.call)

    def reload_used(self, key: str) -> None:
        """Read again what a tenant has used, soon; never waits."""
        self._ledger.reload_used(key)
        now = find_windows(self._clock())
        self.exchange.look_at([(each.name, now.id(each.span)) for each in self._budgets.limits(key)])

    def close(self) -> None:
        """Write what is queued, settle the calls of this process that are open, and close; blocks."""
        self._ledger.close()


def list_limits(budgets: TenantBudgets, step: StartedCall) -> dict[WindowKey, int]:
    """Return the picodollars that the windows of a call may hold; none for a call without a budget."""
    now = find_windows(step.began)
    return {(limit.name, now.id(limit.span)): limit.picodollars for limit in budgets.limits(step.key)}
