"""The steps of a call that the ledger records: it starts, it finishes, or it is withdrawn; and dollars as integers."""

from __future__ import annotations

import math
from functools import lru_cache

from msgspec import Struct

from routemoa.core.errors import BudgetExceeded
from routemoa.core.protocols import CallResult

__all__ = [
    "MAX_PICODOLLARS",
    "PICODOLLARS_PER_DOLLAR",
    "FinishedCall",
    "LedgerStep",
    "StartedCall",
    "WithdrawnCall",
    "to_picodollars",
    "valid_count",
]

PICODOLLARS_PER_DOLLAR = 1e12
"""The totals are whole numbers of picodollars, whose sums have no rounding errors."""
MAX_PICODOLLARS = 2**61
"""Two million dollars: a total beyond that is a mistake, and an SQLite integer ends at 2**63."""


class StartedCall(Struct):
    """A call that is about to be made."""

    request: str
    began: float
    """Seconds since the epoch."""
    key: str
    method: str
    model: str
    purpose: str
    max_cost: float | None
    """Dollars; None without a price."""
    number: int = 0
    """The id of its row; 0 until it is committed."""
    refusal: BudgetExceeded | None = None
    """Why it was not recorded."""
    is_free: bool = False
    """No budget depends on it: it may be made although the store is away, and be recorded later."""


class FinishedCall(Struct):
    """A call that has ended."""

    call: StartedCall
    result: CallResult


class WithdrawnCall(Struct):
    """A call that was recorded and then not made: the request was cancelled meanwhile."""

    call: StartedCall


LedgerStep = StartedCall | FinishedCall | WithdrawnCall


@lru_cache(maxsize=256)  # a call asks for those of its most again and again
def to_picodollars(dollars: float | None) -> int:
    """Return dollars as whole picodollars, rounded up, but for the rounding error of a float; None counts as 0."""
    if dollars is None:
        return 0
    return max(0, math.ceil(min(dollars * PICODOLLARS_PER_DOLLAR - 1e-3, float(MAX_PICODOLLARS))))


def valid_count(tokens: int | None) -> int | None:
    """Return a count of tokens; None for one that no provider can mean, or that no column holds."""
    return tokens if tokens is not None and 0 <= tokens < 2**63 else None
