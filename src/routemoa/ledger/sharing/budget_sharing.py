"""What a store must do to keep budgets for several gateways, each with a ledger of its own. It decides nothing else.

A gateway says what its ledger has spent of a window, as a whole and not as a difference: it may say so twice, and to a
store that has forgotten everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from routemoa.ledger.budgets.budget_check import WindowKey

__all__ = ["BUDGET_LEASE_SECONDS", "BudgetAnswer", "BudgetRequest", "BudgetStore", "SharedCall", "SharedWindow"]

BUDGET_LEASE_SECONDS = 20.0


class SharedCall(Struct, frozen=True):
    """A call that must keep limits."""

    id: str
    """Tells it from the other calls of its process."""
    most: int
    """Picodollars."""
    limits: Mapping[WindowKey, int]
    """Picodollars of each window."""


class SharedWindow(Struct, frozen=True):
    """A window as the store has it, in picodollars."""

    spent: int
    """By all ledgers, and by calls that were under way when their process died."""
    held: int
    own: int
    """Spent by this ledger."""


class BudgetRequest(Struct, frozen=True):
    """What one process says and asks, all at once."""

    spent: Mapping[WindowKey, tuple[int, int | None]]
    """What this ledger has spent; and what the store had of it when the ledger was read later than that, if known."""
    ended: tuple[str, ...] = ()
    """Calls whose cost is in `spent`."""
    started: tuple[SharedCall, ...] = ()
    windows: frozenset[WindowKey] = frozenset()
    """To be described."""
    dead: frozenset[str] = frozenset()
    """Processes with this ledger that have died, and whose calls it has settled."""
    running: tuple[SharedCall, ...] | None = None
    """All calls that were taken before and have not ended, where the process joins; else None."""


class BudgetAnswer(Struct, frozen=True):
    """The answer."""

    is_joined: bool
    """Where not, the process has to join, and nothing was done."""
    wait: float = 0.0
    """Seconds until calls are taken again; none of this request was."""
    taken: tuple[bool, ...] = ()
    processes: frozenset[str] = frozenset()
    """All with this ledger that the store knows."""
    windows: Mapping[WindowKey, SharedWindow] = {}


class BudgetStore(Protocol):
    """Holds what all ledgers have spent, and what calls under way can cost. Only one method runs at a time."""

    async def exchange(self, owner: str, ledger: str, place: str, request: BudgetRequest) -> BudgetAnswer:
        """Do all of a request, or nothing.

        Args:
            owner: the process; it counts as alive for the time of a lease.
            ledger: its ledger, which several processes of one machine may share.
            place: where the ledger's file is; a copy of it elsewhere is refused.
            request: what it says and asks.

        Raises:
            StoreError: it is unknown what was done.
        """
        ...

    async def aclose(self) -> None:
        """Close the connection."""
        ...
