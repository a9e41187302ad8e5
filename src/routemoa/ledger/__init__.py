"""What calls cost, kept: every call is written down before it is made and settled after it, under tenants' budgets.

A process that is killed leaves its calls open; whoever opens the file next, or shares it, settles them at the most
that they can have cost. So no total is ever below what was spent, and nothing stays set aside for ever.
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
from routemoa.ledger.queries import LedgerEntry, read_calls
from routemoa.ledger.schema import StoreError, default_path
from routemoa.ledger.transactions import PICODOLLARS_PER_DOLLAR, StartedCall, FinishedCall, LedgerDatabase, to_picodollars
from routemoa.ledger.writer import Writer

__all__ = ["LedgerEntry", "RemainingBudget", "Store", "StoreError", "StoreRecorder", "read_calls", "default_path"]

UNRECORDED_CALL = -1
"""The number of a call that could not be written down."""


class RemainingBudget(Struct, frozen=True):
    """Dollars that can still be spent, None where there is no limit; and when the windows begin anew (epoch)."""

    day: float | None
    month: float | None
    day_reset: float
    month_reset: float

    @property
    def spans(self) -> tuple[tuple[Span, float | None, float], ...]:
        """Of the day and the month: the name, the dollars, and when it begins anew."""
        return ("day", self.day, self.day_reset), ("month", self.month, self.month_reset)


class Store:
    """A file that several processes may share. Nothing here waits for the disk but opening and closing it.

    Args:
        path: the file; it is made where there is none.
        tenants: whose budgets are kept.
        clock: seconds since the epoch.

    Raises:
        StoreError: the file cannot be used; one line that says why and what to do.
    """

    def __init__(self, path: Path, tenants: Tenants | None = None, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._database = LedgerDatabase(path, tenants or Tenants(), clock)
        self._writer = Writer(self._database, path)

    def recorder(self, key: str | None, method: str) -> StoreRecorder:
        """Whom one request's calls are put down to."""
        name = NO_KEY if key is None else key
        return StoreRecorder(name, method, bool(self._database.limits(name)), self._writer, self._clock)

    def remaining_budget(self, key: str | None) -> RemainingBudget | None:
        """What the tenant can still spend, the tighter of its own limits and everybody's; None where none are set."""
        now, used = find_windows(self._clock()), self._database.used
        found: dict[Span, list[float]] = {span: [] for span in SPANS}
        for name, limits in self._database.limits(NO_KEY if key is None else key):
            for span in SPANS:
                if (limit := limits.for_span(span)) is not None:
                    found[span].append(max(0, round(limit * PICODOLLARS_PER_DOLLAR) - used.get((name, now.id(span)), 0)) / PICODOLLARS_PER_DOLLAR)
        if not any(found.values()):
            return None
        day, month = (min(f, default=None) for f in found.values())
        return RemainingBudget(day, month, now.day_reset, now.month_reset)

    async def flush(self) -> None:
        """Wait until all that was closed so far is written down. Raises StoreError."""
        await self._writer.commit(None)

    async def aclose(self) -> None:
        """Write what waits and let go of the file."""
        with suppress(StoreError):
            await self.flush()
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """The same, for those who may wait."""
        self._writer.close()


class StoreRecorder:
    """One request's `Tab`; `request` groups its calls in the ledger."""

    def __init__(self, key: str, method: str, limited: bool, writer: Writer, clock: Callable[[], float]) -> None:
        self.request = secrets.token_hex(8)
        self._key, self._method, self._limited = key, method, limited
        self._writer, self._clock = writer, clock
        self._open: dict[int, StartedCall] = {}

    @property
    def has_budget(self) -> bool:
        """Whether there is a budget, so that no call may be open-ended or without a price."""
        return self._limited

    async def start(self, opening: CallStart) -> int:
        """Write down that a call is about to be made, and set its most aside; committed when this returns.

        Where it cannot be written down (the log says so) and there is no budget to keep, the call is made all the same.

        Raises:
            OverBudget: it does not fit, or has no price under a budget; nothing is set aside.
            StoreError: it cannot be written down, and there is a budget to keep.
        """
        if self._limited and opening.max_cost is None:
            raise BudgetExceeded(
                f"{opening.model} has no price, and a budget in dollars cannot be kept without; add input_price and "
                "output_price to the pool file"
            )
        to_picodollars(opening.max_cost)  # what is no number of dollars is found out here, and not in the writer
        call = StartedCall(
            self.request, self._clock(), self._key, self._method, opening.model, opening.purpose, opening.max_cost
        )
        try:
            await self._writer.commit(call)
        except StoreError:
            if self._limited:
                raise
            return UNRECORDED_CALL
        self._open[call.number] = call
        return call.number

    def finish(self, number: int, closing: CallResult) -> None:
        """Settle the call that `open` gave this number; never waits. Raises KeyError for a call that is not open."""
        to_picodollars(closing.charged)
        if number == UNRECORDED_CALL:
            return
        call = self._open.pop(number)
        with suppress(StoreError):  # a closed store has settled it already, at its most
            self._writer.enqueue(FinishedCall(call, closing))
