"""Decide whether a call fits into the budgets of its tenant and of all tenants. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct

from routemoa.core.access.tenants import ALL_TENANTS, SPANS, Span, Tenants, find_windows, format_time
from routemoa.core.errors import BudgetExceeded
from routemoa.core.text.dollars import format_dollars
from routemoa.ledger.steps import MAX_PICODOLLARS, PICODOLLARS_PER_DOLLAR, StartedCall, to_picodollars

__all__ = [
    "BudgetLimit",
    "TenantBudgets",
    "Window",
    "WindowKey",
    "find_refusal",
    "list_windows",
    "reserve_in",
    "settle_in",
]

WindowKey = tuple[str, str]
"""A tenant's name (or ALL_TENANTS), and the day or month."""


class Window(Struct):
    """The totals of a tenant's day or month, in picodollars."""

    spent: int
    held: int
    """Reserved for calls under way."""

    def add(self, difference: int) -> None:
        """Change what is spent by an amount that may be negative."""
        self.spent = max(0, min(MAX_PICODOLLARS, self.spent + difference))


def reserve_in(windows: Iterable[Window], most: int) -> None:
    """Reserve the most that a call can cost in all the windows that it counts in."""
    for window in windows:
        held = window.held + most
        window.held = held if held < MAX_PICODOLLARS else MAX_PICODOLLARS


def settle_in(windows: Iterable[Window], most: int, charged: int) -> None:
    """Replace a call's reservation by what is charged, in all the windows that it counts in."""
    for window in windows:
        held, spent = window.held - most, window.spent + charged
        window.held = held if held > 0 else 0
        window.spent = spent if spent < MAX_PICODOLLARS else MAX_PICODOLLARS


class BudgetLimit(Struct, frozen=True):
    """What may be spent in a day or a month."""

    name: str
    """That its windows are under: the tenant's, or ALL_TENANTS."""
    span: Span
    dollars: float
    picodollars: int


class TenantBudgets:
    """The budgets that are kept at a moment."""

    def __init__(self, tenants: Tenants) -> None:
        self.tenants = tenants
        self._limits: dict[str, tuple[BudgetLimit, ...]] = {}  # of tenants seen so far

    def limits(self, key: str) -> tuple[BudgetLimit, ...]:
        """Return the limits that a call of tenant `key` must keep."""
        limits = self._limits  # before the tenants, which another thread may replace meanwhile
        if key not in limits:
            limits[key] = tuple(_list_limits(self.tenants, key))
        return limits[key]

    def replace_tenants(self, tenants: Tenants) -> frozenset[str]:
        """Keep the budgets of these tenants; return the names whose budget was not kept before."""
        known, self.tenants = self.tenants.budgeted, tenants
        self._limits = {}
        return tenants.budgeted - known


def _list_limits(tenants: Tenants, key: str) -> Iterator[BudgetLimit]:
    for name, limits in ((key, tenants.limits(key)), (ALL_TENANTS, tenants.totals)):
        for span in SPANS:
            if (dollars := limits.for_span(span)) is not None:
                yield BudgetLimit(name, span, dollars, round(dollars * PICODOLLARS_PER_DOLLAR))


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
    call: StartedCall, limits: Iterable[BudgetLimit], load_window: Callable[[WindowKey], Window]
) -> BudgetExceeded | None:
    """Return why a call does not fit as the totals stand; of several reasons the one that lasts longest.

    Args:
        call: about to be made.
        limits: that it must keep.
        load_window: returns the totals of a tenant's day or month.
    """
    max_cost, now = to_picodollars(call.max_cost), find_windows(call.began)
    obstacles: list[Obstacle] = []
    for limit in limits:
        window = load_window((limit.name, now.id(limit.span)))
        unspent = limit.picodollars - window.spent
        if max_cost > unspent - window.held:
            left = max(0, unspent - window.held) / PICODOLLARS_PER_DOLLAR
            subject = "all tenants together" if limit.name == ALL_TENANTS else f"tenant '{limit.name}'"
            amounts = f"{format_dollars(left, 4)} of {format_dollars(limit.dollars, 4)}"
            message = f"{subject}: {amounts} is left of this {limit.span}'s budget"
            obstacles.append(Obstacle(max_cost > unspent, now.reset(limit.span), message))
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
