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
from itertools import count

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.access.tenants import NO_KEY, Span, Tenants, find_windows
from routemoa.core.errors import BudgetExceeded
from routemoa.core.protocols import CallResult, CallStart
from routemoa.ledger.backends import LedgerBackend, open_backend
from routemoa.ledger.budgets.budget_check import TenantBudgets
from routemoa.ledger.location import StoreLocation, StoreUrl, default_path, find_fleet, find_store, parse_location
from routemoa.ledger.schema import StoreError
from routemoa.ledger.sharing.budget_exchange import BudgetExchange
from routemoa.ledger.sharing.budget_sharing import BudgetStore
from routemoa.ledger.sharing.shared_ledger import SharedLedger
from routemoa.ledger.sqlite.writer import Writer
from routemoa.ledger.steps import PICODOLLARS_PER_DOLLAR, FinishedCall, StartedCall, to_picodollars
from routemoa.ledger.sums.corrections import Correction, correct_call
from routemoa.ledger.sums.queries import LedgerEntry, note_endpoint, read_calls
from routemoa.ledger.write_state import WriteState

__all__ = [
    "BudgetExchange",
    "BudgetState",
    "BudgetStore",
    "Correction",
    "LedgerEntry",
    "RemainingBudget",
    "Store",
    "StoreError",
    "StoreLocation",
    "StoreRecorder",
    "StoreUrl",
    "correct_call",
    "default_path",
    "find_fleet",
    "find_store",
    "parse_location",
    "read_calls",
]

UNRECORDED_CALL = -1
"""The number of a call that could not be recorded; those of calls that are recorded later are below."""


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


class BudgetState(Struct, frozen=True):
    """A limit in dollars, and what is used of it."""

    key: str
    """The tenant's name; "*" is the budget of all callers together."""
    span: Span
    limit: float
    """Dollars."""
    used: float
    """Dollars that were spent, or are reserved for calls under way."""
    start: float
    """When the day or month began, in seconds since the epoch."""
    reset: float
    """When it ends, in seconds since the epoch."""


class Store:
    """A ledger that several processes may share. Only opening and closing it wait for the disk or the server.

    Args:
        path: the file, which is created where there is none; or the URL of a PostgreSQL database.
        tenants: the tenants whose budgets are kept.
        clock: returns seconds since the epoch.

    Raises:
        StoreError: the store cannot be used; one line that says why and what to do.
    """

    def __init__(
        self, path: StoreLocation, tenants: Tenants | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.path = path
        self._clock = clock
        self._budgets = TenantBudgets(Tenants() if tenants is None else tenants)
        self._backend: LedgerBackend = open_backend(path, self._budgets, clock)
        self._requests = count(secrets.randbits(64))

    def share_budgets(self, shared: BudgetStore) -> BudgetExchange | None:
        """Keep the budgets together with other ledgers; return what has to run beside, and to be closed before this.

        None where the ledger is in a database, which several gateways share by itself.
        """
        if not isinstance(self._backend, Writer):
            return None
        self._backend = sharing = SharedLedger(self._backend, shared, self._budgets, self._clock)
        return sharing.exchange

    def use_tenants(self, tenants: Tenants) -> None:
        """Keep the budgets of these tenants from now on; never waits.

        Calls under way stay counted under the names that they began with.
        """
        for name in self._budgets.replace_tenants(tenants):
            self._backend.reload_used(name)

    def recorder(self, key: str | None, method: str, purpose: str | None = None) -> StoreRecorder:
        """Return the recorder of one request's calls.

        Args:
            key: the tenant's name, None for a request without a key.
            method: what answers.
            purpose: of the run that the request belongs to, such as "bench"; by default each call has its own.
        """
        name = NO_KEY if key is None else key
        request = f"{next(self._requests) % 2**64:016x}"  # which no other process gives: they begin anywhere
        has_budget = bool(self._budgets.limits(name))
        return StoreRecorder(name, method, has_budget, self._backend, self._clock, request=request, purpose=purpose)

    def remaining_budget(self, key: str | None) -> RemainingBudget | None:
        """Return what a tenant can still spend: the tighter of its own limits and the totals; None without limits."""
        limited = self._budgets.limits(NO_KEY if key is None else key)
        if not limited:
            return None
        now, used = find_windows(self._clock()), self._backend.used
        least: dict[Span, float] = {}
        for limit in limited:
            left = limit.picodollars - used.get((limit.name, now.id(limit.span)), 0)
            dollars = left / PICODOLLARS_PER_DOLLAR if left > 0 else 0.0
            least[limit.span] = min(dollars, least.get(limit.span, dollars))
        return RemainingBudget(least.get("day"), least.get("month"), now.day_reset, now.month_reset)

    def is_used_up(self, key: str | None) -> bool:
        """Return whether nothing is left of one of the limits that a tenant's calls keep."""
        now, used = find_windows(self._clock()), self._backend.used
        for limit in self._budgets.limits(NO_KEY if key is None else key):
            if used.get((limit.name, now.id(limit.span)), 0) >= limit.picodollars:
                return True
        return False

    def list_budgets(self, key: str | None) -> list[BudgetState]:
        """Return the limits that a tenant's calls keep: its own, and those of all tenants together."""
        now, used = find_windows(self._clock()), self._backend.used
        return [
            BudgetState(
                limit.name,
                limit.span,
                limit.dollars,
                used.get((limit.name, now.id(limit.span)), 0) / PICODOLLARS_PER_DOLLAR,
                now.start(limit.span),
                now.reset(limit.span),
            )
            for limit in self._budgets.limits(NO_KEY if key is None else key)
        ]

    @property
    def state(self) -> WriteState:
        """Return whether the ledger can be written, and who is told of calls without a record."""
        return self._backend.state

    @property
    def backlog(self) -> tuple[int, float]:
        """Return how many entries are not written yet, and for how many seconds the oldest of them has waited."""
        return self._backend.backlog

    def reload_budget(self, key: str | None) -> None:
        """Read again what a tenant has used, as another process may have corrected it; never waits.

        A file is read at once, a database soon after.
        """
        self._backend.reload_used(NO_KEY if key is None else key)

    async def flush(self) -> None:
        """Wait until every call that has ended so far is settled in the store. Raises StoreError."""
        await self._backend.commit(None)

    async def aclose(self) -> None:
        """Write what is queued and close the file, without blocking the event loop."""
        with suppress(StoreError):
            await self.flush()
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Write what is queued and close the file; blocks."""
        self._backend.close()


class StoreRecorder:
    """Records the calls of one request: a `CallRecorder`. `request` is the id that they share in the ledger."""

    def __init__(
        self,
        key: str,
        method: str,
        has_budget: bool,
        writer: LedgerBackend,
        clock: Callable[[], float],
        *,
        request: str,
        purpose: str | None = None,
    ) -> None:
        self.request = request
        self._key, self._method, self._has_budget, self._purpose = key, method, has_budget, purpose
        self._writer, self._clock = writer, clock
        self._open: dict[int, StartedCall] = {}
        self._unwritten = UNRECORDED_CALL
        self._endpoints: dict[int, str] = {}  # of members that have several

    @property
    def has_budget(self) -> bool:
        """Return whether there is a budget, so that no call may be open-ended or without a price."""
        return self._has_budget

    async def start(self, call: CallStart) -> int:
        """Record a call that is about to be made and reserve its `max_cost`; committed when this returns its number.

        Where it cannot be recorded and there is no budget to keep, the call may be made all the same: a file loses it
        (the log says so), a database gets it when it is back.

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
            is_free=not self._has_budget,
        )
        try:
            await self._writer.commit(started)
        except StoreError:
            if self._has_budget:
                raise
            self._writer.state.count_unrecorded()
            return UNRECORDED_CALL
        number = started.number
        if not number:  # it is recorded later
            self._unwritten -= 1
            number = self._unwritten
        self._open[number] = started
        if call.endpoint is not None:
            self._endpoints[number] = call.endpoint
        return number

    def finish(self, number: int, result: CallResult) -> None:
        """Settle the call that `start` gave this number; never waits. Raises KeyError for a call that is not open."""
        to_picodollars(result.charged)  # NaN raises ValueError here, rather than in the writer
        if number == UNRECORDED_CALL:
            return
        call = self._open.pop(number)
        if (endpoint := self._endpoints.pop(number, None)) is not None:
            result = replace(result, note=note_endpoint(endpoint, result.note))
        try:  # noqa: SIM105  (which costs more than the rest of this)
            self._writer.enqueue(FinishedCall(call, result))
        except StoreError:  # a closed store has settled it already, at its most
            pass
