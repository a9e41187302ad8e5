"""Decide whether a call fits into the budgets of its tenant and of all tenants. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from routemoa.core.dollars import format_dollars
from routemoa.core.errors import BudgetExceeded
from routemoa.core.tenants import ALL_TENANTS, SPANS, SpendingLimits, Tenants, find_windows, format_time
from routemoa.ledger.steps import MAX_PICODOLLARS, PICODOLLARS_PER_DOLLAR, StartedCall, to_picodollars

__all__ = ["TenantBudgets", "Window", "WindowKey", "find_refusal", "list_windows"]

WindowKey = tuple[str, str]
"""A tenant's name (or ALL_TENANTS), and the day or month."""


class Window(Struct):
    """The totals of a tenant's day or month, in picodollars."""

    spent: int
    held: int
    """Reserved for calls under way."""

    def reserve(self, most: int) -> None:
        """Reserve the most that a call can cost."""
        self.held = min(MAX_PICODOLLARS, self.held + most)

    def settle(self, most: int, charged: int) -> None:
        """Replace a call's reservation by what is charged."""
        self.held = max(0, self.held - most)
        self.add(charged)

    def add(self, difference: int) -> None:
        """Change what is spent by an amount that may be negative."""
        self.spent = max(0, min(MAX_PICODOLLARS, self.spent + difference))


class TenantBudgets:
    """The budgets that are kept at a moment."""

    def __init__(self, tenants: Tenants) -> None:
        self.tenants = tenants

    def limits(self, key: str) -> tuple[tuple[str, SpendingLimits], ...]:
        """Return the limits that a call of tenant `key` must keep, each with the name that its windows are under."""
        found = ((key, self.tenants.limits(key)), (ALL_TENANTS, self.tenants.totals))
        return tuple([(name, of) for name, of in found if of])

    def replace_tenants(self, tenants: Tenants) -> frozenset[str]:
        """Keep the budgets of these tenants; return the names whose budget was not kept before."""
        known, self.tenants = self.tenants.budgeted, tenants
        return tenants.budgeted - known


def list_windows(key: str, began: float) -> list[WindowKey]:
    """Return the windows that a call counts in: the day and the month of the tenant, and of all tenants."""
    now = find_windows(began)
    return [(name, now.id(span)) for name in (key, ALL_TENANTS) for span in SPANS]


class Obstacle(Struct, order=True):
    """A budget that a call does not fit into. The order is by how long it stands in the way."""

    permanent: bool
    """The call does not fit even if every call under way turns out to cost nothing."""
    reset: float
    """When the budget starts again, in seconds since the epoch."""
    message: str


def find_refusal(
    call: StartedCall, limits: Sequence[tuple[str, SpendingLimits]], load_window: Callable[[WindowKey], Window]
) -> BudgetExceeded | None:
    """Return why a call does not fit as the totals stand; of several reasons the one that lasts longest.

    Args:
        call: about to be made.
        limits: that it must keep, each with the name that its windows are under.
        load_window: returns the totals of a tenant's day or month.
    """
    max_cost, now = to_picodollars(call.max_cost), find_windows(call.began)
    obstacles: list[Obstacle] = []
    for name, of in limits:
        for span in SPANS:
            limit = of.for_span(span)
            if limit is None:
                continue
            window = load_window((name, now.id(span)))
            unspent = round(limit * PICODOLLARS_PER_DOLLAR) - window.spent
            if max_cost > unspent - window.held:
                left = max(0, unspent - window.held) / PICODOLLARS_PER_DOLLAR
                subject = "all tenants together" if name == ALL_TENANTS else f"tenant '{name}'"
                amounts = f"{format_dollars(left, 4)} of {format_dollars(limit, 4)}"
                message = f"{subject}: {amounts} is left of this {span}'s budget"
                obstacles.append(Obstacle(max_cost > unspent, now.reset(span), message))
    if not obstacles:
        return None
    last = max(obstacles)
    hope = "" if last.permanent else "calls under way may free some of it, and "
    return BudgetExceeded(
        f"{last.message}, and the next call can cost {format_dollars(call.max_cost or 0, 4)}; {hope}"
        f"the budget starts again at {format_time(last.reset)}",
        temporary=not last.permanent,
        reset=last.reset,
    )
