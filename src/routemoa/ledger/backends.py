"""What a ledger needs of its database, and the choice between the two that there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from routemoa.ledger.budgets.budget_check import TenantBudgets, WindowKey
from routemoa.ledger.location import StoreLocation, StoreUrl
from routemoa.ledger.steps import FinishedCall, StartedCall, WithdrawnCall
from routemoa.ledger.write_state import WriteState

__all__ = ["LedgerBackend", "open_backend"]


class LedgerBackend(Protocol):
    """Writes the steps of calls, all that are queued in one transaction, and knows what the budgets have used."""

    @property
    def used(self) -> Mapping[WindowKey, int]:
        """The picodollars spent and reserved in the windows seen so far; may be read from any thread."""
        ...

    @property
    def state(self) -> WriteState:
        """Return whether the ledger can be written."""
        ...

    @property
    def backlog(self) -> tuple[int, float]:
        """Return how many steps are not written yet, and for how many seconds the oldest of them has waited."""
        ...

    async def commit(self, step: StartedCall | None) -> None:
        """Queue a step and wait until it is committed; None waits for the steps queued before.

        A call that is free may return without a number: it is recorded later.

        Raises:
            BudgetExceeded: the call does not fit.
            StoreError: the step cannot be written.
        """
        ...

    def enqueue(self, item: FinishedCall | WithdrawnCall) -> None:
        """Write this soon; never waits. Raises StoreError when the store is closed."""
        ...

    def reload_used(self, key: str) -> None:
        """Read again what a tenant has used; never waits."""
        ...

    def close(self) -> None:
        """Write what is queued, settle the calls of this process that are open, and close; blocks."""
        ...


def open_backend(store: StoreLocation, budgets: TenantBudgets, clock: Callable[[], float]) -> LedgerBackend:
    """Open the ledger of a store for writing. Blocks.

    Args:
        store: where it is; it is created where there is none.
        budgets: those that are kept; they may change later.
        clock: returns seconds since the epoch.

    Raises:
        StoreError: the store cannot be used.
        MissingExtra: it is in PostgreSQL, and the driver is not installed.
    """
    if isinstance(store, StoreUrl):
        from routemoa.ledger.postgres.ledger import PostgresLedger

        return PostgresLedger(store, budgets, clock)
    from routemoa.ledger.sqlite.transactions import LedgerDatabase
    from routemoa.ledger.sqlite.writer import Writer

    return Writer(LedgerDatabase(store, budgets, clock), store)
