"""The ledger: every call is recorded before it is made and settled after it, within the tenants' budgets.

A process that is killed leaves its calls open. The next process to open the file, or one that shares it, settles them
at the most that they can have cost, so that no total is below what was spent and nothing stays reserved for ever.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from routemoa.core.errors import BudgetExceeded
from routemoa.core.protocols import CallResult, CallStart
from routemoa.core.tenants import NO_KEY, SPANS, Span, Tenants, find_windows
from routemoa.ledger.corrections import Correction, correct_call
from routemoa.ledger.queries import LedgerEntry, read_calls
from routemoa.ledger.schema import StoreError, default_path
from routemoa.ledger.steps import PICODOLLARS_PER_DOLLAR, FinishedCall, StartedCall, to_picodollars
from routemoa.ledger.transactions import LedgerDatabase
from routemoa.ledger.writer import Writer

__all__ = [
    "Correction",
    "LedgerEntry",
    "RemainingBudget",
    "Store",
    "StoreError",
    "StoreRecorder",
    "correct_call",
    "default_path",
    "read_calls",
]

UNRECORDED_CALL = -1
"""The number of a call that could not be recorded."""


class RemainingBudget(Struct, frozen=True):
    """What can still be spent in the current UTC day and month."""

    day: float | None
    """Dollars; None is no limit."""
    month: float | None
    """Dollars; None is no limit."""
    day_reset: float
    """When the day's budget starts again, in seconds since the epoch."""
    month_reset: float
    """When the month's budget starts again, in seconds since the epoch."""

    @property
    def spans(self) -> tuple[tuple[Span, float | None, float], ...]:
        """For the day and the month: the name, the dollars, and when the budget starts again."""
        return ("day", self.day, self.day_reset), ("month", self.month, self.month_reset)


class Store:
    """A ledger file that several processes may share. Only opening and closing it wait for the disk.

    Args:
        path: the file; it is created where there is none.
        tenants: the tenants whose budgets are kept.
        clock: returns seconds since the epoch.

    Raises:
        StoreError: the file cannot be used; one line that says why and what to do.
    """

    def __init__(self, path: Path, tenants: Tenants | None = None, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._database = LedgerDatabase(path, Tenants() if tenants is None else tenants, clock)
        self._writer = Writer(self._database, path)

    def recorder(self, key: str | None, method: str, purpose: str | None = None) -> StoreRecorder:
        """Return the recorder of one request's calls.

        Args:
            key: the tenant's name, None for a request without a key.
            method: what answers.
            purpose: of the run that the request belongs to, such as "bench"; by default each call has its own.
        """
        name = NO_KEY if key is None else key
        return StoreRecorder(
            name, method, bool(self._database.limits(name)), self._writer, self._clock, purpose=purpose
        )

    def remaining_budget(self, key: str | None) -> RemainingBudget | None:
        """Return what a tenant can still spend: the tighter of its own limits and the totals; None without limits."""
        now, used = find_windows(self._clock()), self._database.used
        remaining: dict[Span, list[float]] = {span: [] for span in SPANS}
        for name, limits in self._database.limits(NO_KEY if key is None else key):
            for span in SPANS:
                if (limit := limits.for_span(span)) is not None:
                    left = round(limit * PICODOLLARS_PER_DOLLAR) - used.get((name, now.id(span)), 0)
                    remaining[span].append(max(0, left) / PICODOLLARS_PER_DOLLAR)
        if not any(remaining.values()):
            return None
        day, month = (min(dollars, default=None) for dollars in remaining.values())
        return RemainingBudget(day, month, now.day_reset, now.month_reset)

    def reload_budget(self, key: str | None) -> None:
        """Read again what a tenant has used, as another process may have corrected it."""
        self._writer.reload_used(NO_KEY if key is None else key)

    async def flush(self) -> None:
        """Wait until every call that has ended so far is settled in the file. Raises StoreError."""
        await self._writer.commit(None)

    async def aclose(self) -> None:
        """Write what is queued and close the file, without blocking the event loop."""
        with suppress(StoreError):
            await self.flush()
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Write what is queued and close the file; blocks."""
        self._writer.close()


class StoreRecorder:
    """Records the calls of one request: a `CallRecorder`. `request` is the id that they share in the ledger."""

    def __init__(
        self,
        key: str,
        method: str,
        has_budget: bool,
        writer: Writer,
        clock: Callable[[], float],
        *,
        purpose: str | None = None,
    ) -> None:
        self.request = secrets.token_hex(8)
        self._key, self._method, self._has_budget, self._purpose = key, method, has_budget, purpose
        self._writer, self._clock = writer, clock
        self._open: dict[int, StartedCall] = {}

    @property
    def has_budget(self) -> bool:
        """Return whether there is a budget, so that no call may be open-ended or without a price."""
        return self._has_budget

    async def start(self, call: CallStart) -> int:
        """Record a call that is about to be made and reserve its `max_cost`; committed when this returns its number.

        Where it cannot be recorded (the log says so) and there is no budget to keep, the call may be made all the same.

        Raises:
            BudgetExceeded: it does not fit, or has no price under a budget; nothing is reserved.
            StoreError: it cannot be recorded, and there is a budget to keep.
        """
        if self._has_budget and call.max_cost is None:
            raise BudgetExceeded(
                f"{call.model} has no price, and a budget in dollars cannot be kept without; add input_price and "
                "output_price to the pool file"
            )
        to_picodollars(call.max_cost)  # NaN raises ValueError here, rather than in the writer
        started = StartedCall(
            self.request,
            self._clock(),
            self._key,
            self._method,
            call.model,
            self._purpose or call.purpose,
            call.max_cost,
        )
        try:
            await self._writer.commit(started)
        except StoreError:
            if self._has_budget:
                raise
            return UNRECORDED_CALL
        self._open[started.number] = started
        return started.number

    def finish(self, number: int, result: CallResult) -> None:
        """Settle the call that `start` gave this number; never waits. Raises KeyError for a call that is not open."""
        to_picodollars(result.charged)  # NaN raises ValueError here, rather than in the writer
        if number == UNRECORDED_CALL:
            return
        call = self._open.pop(number)
        with suppress(StoreError):  # a closed store has settled it already, at its most
            self._writer.enqueue(FinishedCall(call, result))
