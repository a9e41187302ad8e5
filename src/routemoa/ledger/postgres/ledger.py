"""Writes the ledger to PostgreSQL: a thread takes all queued steps as one transaction; the event loop never waits.

While the server is away, calls that no budget depends on are made all the same: their steps wait in memory and are
written when it is back. Calls under a budget fail.
"""

from __future__ import annotations

import asyncio
import math
import random
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from routemoa.ledger.budgets.budget_check import TenantBudgets, WindowKey
from routemoa.ledger.location import StoreUrl
from routemoa.ledger.postgres.batch import Batch
from routemoa.ledger.postgres.driver import PostgresError
from routemoa.ledger.postgres.pending import Pending, QueueItem, StepQueue, list_steps, resolve
from routemoa.ledger.postgres.session import LedgerSession
from routemoa.ledger.schema import LOG, StoreError
from routemoa.ledger.steps import StartedCall, WithdrawnCall
from routemoa.ledger.write_state import WriteState

__all__ = ["PostgresLedger"]

MAX_QUEUED = 100_000
"""Steps that wait in memory while the server is away; beyond that, calls without a budget are made unrecorded."""
MAX_BATCH = 2_000
"""Steps of one transaction."""
PATIENCE = 5.0
"""Seconds for which a call under a budget waits for its record."""
SHORT_PATIENCE = 1.0
"""The same, for a call without a budget, and for one under a budget where the server is away."""
FIRST_WAIT, LONGEST_WAIT = 0.02, 2.0
"""Seconds until a transaction that failed is tried again, twice as long each time."""
TICK_SECONDS = 1.0
"""Between two looks at what other processes have spent."""
LEASE_INTERVAL = 5.0
"""Seconds between renewals of the lease, and between looks for the calls of dead processes."""
CLOSING_SECONDS = 10.0
"""For which closing waits for a server that is away."""
WARNING_INTERVAL = 10.0
SWITCH_INTERVAL = 0.0005
"""Seconds after which a busy event loop lets the thread have the interpreter, which it needs for every answer of the
server: a tenth of Python's own. Beside a busy loop a transaction takes about half the time."""


class PostgresLedger:
    """A `LedgerBackend`. Opening connects, and blocks.

    Args:
        url: of the database.
        budgets: those that are kept.
        clock: returns seconds since the epoch.

    Raises:
        StoreError: the database cannot be used.
    """

    def __init__(self, url: StoreUrl, budgets: TenantBudgets, clock: Callable[[], float]) -> None:
        self._url, self._budgets = url, budgets
        self._session = LedgerSession(url, budgets, clock)
        self._queue = StepQueue()
        self.state = WriteState()
        self._batches = 0
        self._unsure: tuple[Batch, list[QueueItem]] | None = None  # its commit was sent, and no answer came
        self._error: StoreError | None = None  # why the server is away, while it is
        self._is_slow = False  # a call without a budget has waited in vain since the last batch
        self._wait = FIRST_WAIT
        self._names_to_reload: set[str] = set()
        self._ticked = self._renewed = time.monotonic()
        self._last_warning = ("", 0.0)
        try:
            self._session.connect()
            self._session.settle_lost()
            self._session.reload_used([t.name for t in budgets.tenants])
        except BaseException:
            self._session.disconnect()
            raise
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_INTERVAL))
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    # --- from any thread

    @property
    def used(self) -> dict[WindowKey, int]:
        """The picodollars spent and reserved in the windows seen so far; may be read from any thread."""
        return self._session.used

    @property
    def backlog(self) -> tuple[int, float]:
        """Return how many steps are not written yet, and for how many seconds the oldest of them has waited."""
        return self._queue.backlog

    def enqueue(self, item: QueueItem) -> None:
        """Write this soon; never waits. Raises StoreError when the store is closed."""
        if not self._queue.put(item):
            raise StoreError(f"{self._url}: the store is closed; make a new one")

    async def commit(self, step: StartedCall | None) -> None:
        """Queue a step and wait until it is committed; None waits for the steps queued before.

        A call without a budget is waited for a moment, and not at all while the server is away; it is recorded later.

        Raises:
            BudgetExceeded: the call does not fit.
            StoreError: the step cannot be written.
        """
        is_free = step is not None and step.is_free
        if is_free and len(self._queue) > MAX_QUEUED:
            full = StoreError(f"{self._url}: {MAX_QUEUED:,} steps of calls wait for the server, and no more can")
            self.state.fail(full)
            raise full
        loop = asyncio.get_running_loop()
        pending = Pending(step, loop.create_future(), loop)
        self.enqueue(pending)
        if is_free and (self._error is not None or self._is_slow):
            pending.future.cancel()  # nothing waits for it
            return
        pending.timer = loop.call_later(SHORT_PATIENCE, self._look_at, pending, time.monotonic() + PATIENCE)
        try:
            await pending.future
        except (asyncio.CancelledError, StoreError) as e:
            if step is not None:
                with suppress(StoreError):  # closing the store settles what is open
                    self.enqueue(WithdrawnCall(step))
            raise e
        finally:
            pending.timer.cancel()

    def reload_used(self, key: str) -> None:
        """Read again what a tenant has used, soon; never waits."""
        self._names_to_reload.add(key)
        self._queue.wake()

    def close(self) -> None:
        """Write what is queued, settle the calls of this process that are open, and close; blocks.

        A server that is away is waited for some seconds. A second time does nothing.
        """
        self._queue.close()
        self._thread.join(CLOSING_SECONDS + PATIENCE)
        if self._thread.is_alive():  # it waits for a server that does not answer; the process ends without it
            self._warn(f"{self._url}: the store does not answer; {self._queue.backlog[0]} steps are not recorded")

    def _look_at(self, pending: Pending, end: float) -> None:
        """Let a caller go on that has waited too long: without a budget as if it were recorded, else with an error."""
        if pending.future.done():
            return
        if pending.is_free:
            self._is_slow = True
            pending.future.set_result(None)
        elif self._error is None and time.monotonic() < end:
            pending.timer = pending.loop.call_later(SHORT_PATIENCE, self._look_at, pending, end)
        else:
            why = self._error or StoreError(f"{self._url}: the store has not answered for {PATIENCE:g} s")
            pending.future.set_exception(StoreError(str(why)))

    def _run(self) -> None:
        while True:
            is_last = self._queue.await_items(TICK_SECONDS)
            try:
                self._work()
                if is_last and not self._queue:
                    self._session.leave()
                    self._session.disconnect()
                    return
            except Exception as e:  # whatever happens, what is queued is written in the end
                error = e if isinstance(e, StoreError) else StoreError(f"{self._url}: {e!r}")
                self._recover(error)
                if self._is_out_of_time():
                    self._session.disconnect()
                    LOG.warning("%s; %d steps of calls are not recorded", error, self._queue.backlog[0])
                    return

    def _work(self) -> None:
        """Connect if need be, write what is queued, and look at what others did. Raises StoreError."""
        if not self._session.is_connected or self._unsure is not None:
            self._connect_again()
        while self._queue:
            self._write_some()
        now = time.monotonic()
        if self._names_to_reload or (self._budgets.tenants.have_budgets and now - self._ticked > TICK_SECONDS):
            names, self._names_to_reload = self._names_to_reload, set()
            self._ticked = now
            self._session.reload_used([*self._budgets.tenants.budgeted, *names])
        if now - self._renewed > LEASE_INTERVAL:
            self._session.renew_lease()
            self._session.settle_lost()
            self._renewed = now
        self._error, self._wait = None, FIRST_WAIT

    def _connect_again(self) -> None:
        """Connect, and learn whether the last batch was committed. Raises StoreError."""
        self._session.disconnect()
        last = self._session.connect()
        self._renewed = time.monotonic()
        if self._unsure is not None:
            (batch, items), self._unsure = self._unsure, None
            if last >= batch.number:
                self._session.show(batch)
                self._end(batch, items)
            else:
                self._queue.put_back(items)

    def _write_some(self) -> None:
        """Write one batch of what is queued. Raises StoreError: it is queued again, or its fate is unknown."""
        items = self._queue.take(MAX_BATCH)
        batch = self._new_batch(items)
        try:
            self._session.write(batch)
        except PostgresError as e:
            if e.lost and batch.was_sent:
                self._unsure = batch, items
                raise
            if not e.data:
                self._queue.put_back(items)
                raise
            self._write_one_by_one(items)
        except StoreError:
            self._queue.put_back(items)
            raise
        except Exception as e:
            LOG.error("%s: %r; the steps of calls are written one by one", self._url, e)
            self._write_one_by_one(items)
        else:
            self._end(batch, items)

    def _write_one_by_one(self, items: Sequence[QueueItem]) -> None:
        """Write steps of which one cannot be written. Raises StoreError, with the rest queued again."""
        self._session.roll_back()
        for position, item in enumerate(items):
            batch = self._new_batch([item])
            try:
                self._session.write(batch)
            except StoreError as e:
                if not isinstance(e, PostgresError) or not e.data:
                    is_unsure = getattr(e, "lost", False) and batch.was_sent
                    self._unsure = (batch, [item]) if is_unsure else None
                    self._queue.put_back(items[position + is_unsure :])
                    raise
                self._drop(item, e)
            except Exception as e:  # a defect must not end the thread
                self._drop(item, StoreError(f"{self._url}: {e!r}"))
            else:
                self._end(batch, [item])

    def _new_batch(self, items: Sequence[QueueItem]) -> Batch:
        self._batches += 1
        return Batch(self._batches, list_steps(items))

    def _end(self, batch: Batch, items: Sequence[QueueItem]) -> None:
        """Tell the waiting that their steps are committed."""
        batch.confirm()
        self._queue.confirm()
        self._is_slow = False
        self.state.recover(self._url)
        self._resolve(items)

    def _drop(self, item: QueueItem, error: StoreError) -> None:
        """Give a step up that cannot be written."""
        self._session.roll_back()
        self._queue.confirm()
        LOG.error("%s; a step of a call is not recorded", error)
        self._resolve([item], error)

    def _recover(self, error: StoreError) -> None:
        """Wait a while before the next attempt; let calls without a budget go on where the server is away."""
        if not isinstance(error, PostgresError) or error.lost:
            self._session.disconnect()
            self._error = error
            self._warn(str(error))
            unsure = self._unsure[1] if self._unsure else ()
            self._resolve([*self._queue.list_free(), *(i for i in unsure if isinstance(i, Pending) and i.is_free)])
        else:
            self._session.roll_back()
            if not error.temporary:
                self._error = error
                self._warn(str(error))
        time.sleep(self._wait * random.uniform(0.5, 1.0))  # noqa: S311  (no secret)
        self._wait = min(LONGEST_WAIT, 2 * self._wait)

    def _is_out_of_time(self) -> bool:
        return time.monotonic() - (self._queue.closing_since or math.inf) > CLOSING_SECONDS

    def _warn(self, message: str) -> None:
        """Log a warning, but the same one only once in WARNING_INTERVAL."""
        now = time.monotonic()
        if message != self._last_warning[0] or now - self._last_warning[1] > WARNING_INTERVAL:
            self._last_warning = (message, now)
            LOG.warning("%s", message)

    def _resolve(self, items: Iterable[QueueItem], error: StoreError | None = None) -> None:
        """Tell the waiting of these items; a call whose loop has ended will not be made."""
        self._queue.add_withdrawn(resolve(items, error))
