"""Decide when the ledger is written: soon, all queued steps in one transaction, and never waiting on the event loop.

A transaction takes some ten microseconds where no other process has the file locked: less than to hand it to a thread
and back. A thread would also starve beside a busy loop, since it needs the interpreter's lock again for every
statement. So the event loop itself writes, and tries again later where another process is writing. Only checkpoints,
which wait for the disk, have a thread.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from routemoa.core.access.tenants import NO_KEY
from routemoa.core.errors import BudgetExceeded
from routemoa.ledger.budgets.budget_check import WindowKey
from routemoa.ledger.schema import BUSY_TIMEOUT, LOG, StoreError, is_locked, to_store_error
from routemoa.ledger.sqlite.checkpoints import Checkpoints
from routemoa.ledger.sqlite.identity import LedgerIdentity
from routemoa.ledger.sqlite.pending import PendingCommit, QueueItem, resolve_commits
from routemoa.ledger.sqlite.transactions import LedgerDatabase
from routemoa.ledger.steps import FinishedCall, StartedCall, WithdrawnCall
from routemoa.ledger.write_state import WriteState

__all__ = ["Writer"]

RETRY_INTERVAL = 1.0
"""Seconds until a write that failed is tried again."""
SETTLE_DELAY = 0.005
"""Seconds in which a call that has ended is settled, in one transaction with what else is written by then: most often
the start of the next call."""


class Writer:
    """Writes queued steps to a database until `close`."""

    def __init__(self, database: LedgerDatabase, path: Path) -> None:
        self._database = database
        self.used = database.used
        """The picodollars spent and reserved in the windows seen so far; may be read from any thread."""
        self._path = path
        self._queue: deque[QueueItem] = deque()
        self._lock = threading.Lock()  # held by the thread that writes: loops of several threads may share a store
        self._scheduled_loop: asyncio.AbstractEventLoop | None = None  # the loop that will write
        self._delayed_loop: asyncio.AbstractEventLoop | None = None  # the loop that will write a little later
        self._locked_since: float | None = None  # since when another process has had the file locked
        self._checkpoints = Checkpoints(path)
        self._waits_since: float | None = None  # since when the oldest step has been queued
        self._under_way = 0  # calls that have begun and not ended
        self._closed = False
        self._retry_loop: asyncio.AbstractEventLoop | None = None  # the loop that will try again what has failed
        self.state = WriteState()

    def enqueue(self, item: QueueItem) -> None:
        """Write this soon. Raises StoreError when the store is closed."""
        self._put(item)
        if not isinstance(item, PendingCommit):
            self._under_way -= 1
        if (loop := _find_loop()) is None:  # it is written with the next step, or on closing
            return
        if isinstance(item, FinishedCall):
            self._schedule_later(loop)
        else:
            self._schedule(loop)

    def _put(self, item: QueueItem) -> None:
        """Queue a step. Raises StoreError when the store is closed."""
        if self._closed:
            raise StoreError(f"{self._path}: the store is closed; make a new one")
        self._queue.append(item)
        if self._waits_since is None:
            self._waits_since = time.monotonic()

    @property
    def backlog(self) -> tuple[int, float]:
        """Return how many steps are not written yet, and for how many seconds the oldest of them has waited."""
        since = self._waits_since
        return len(self._queue), 0.0 if since is None or not self._queue else time.monotonic() - since

    async def commit(self, step: StartedCall | None) -> None:
        """Queue a step and wait until it is committed; None waits for the steps queued before.

        It is written with what else this turn of the event loop queues; at once where no other call is under way.

        Raises:
            BudgetExceeded: the call does not fit.
            StoreError: the step cannot be written.
        """
        loop = asyncio.get_running_loop()
        if self._retry_loop is loop and (error := self.state.new_error()) is not None:
            raise error
        pending = PendingCommit(step, loop.create_future(), loop)
        self._put(pending)
        is_alone = self._under_way == 0 and self._scheduled_loop is None
        self._under_way += step is not None
        if is_alone:
            self._flush(loop)
        else:
            self._schedule(loop)
        try:
            await pending.future
        except asyncio.CancelledError:
            if step is not None:
                with suppress(StoreError):  # closing the store settles what is open
                    self.enqueue(WithdrawnCall(step))
            raise
        except (BudgetExceeded, StoreError):
            self._under_way -= step is not None
            raise

    def reload_used(self, key: str) -> None:
        """Read again what a tenant has used, unless another thread is writing; never waits.

        What is queued is written before: a call that has ended does not hold its reservation any more.
        """
        if self._queue and not self._closed and self._lock.acquire(blocking=False):
            self._write_queue(_find_loop())
        if not self._closed and self._lock.acquire(blocking=False):
            try:
                with suppress(sqlite3.Error):  # the next write reports it
                    self._database.reload_used(key)
            finally:
                self._lock.release()

    # --- for budgets that several ledgers share

    @property
    def identity(self) -> LedgerIdentity:
        """Return which ledger and which process this is."""
        return self._database.identity

    def read_spent(self, keys: Collection[WindowKey] | None) -> dict[WindowKey, int]:
        """Return the picodollars spent in windows, None are all of this day and month. Raises StoreError."""
        with self._use() as database:
            return database.read_spent(keys)

    def settle_dead_processes(self) -> set[str]:
        """Settle the calls of dead processes; return the processes that are alive. Raises StoreError."""
        with self._use() as database:
            return database.settle_dead_processes()

    @contextmanager
    def _use(self) -> Iterator[LedgerDatabase]:
        """Use the database; another thread's transaction is waited for. Raises StoreError."""
        with self._lock:
            if self._closed:
                raise StoreError(f"{self._path}: the store is closed; make a new one")
            try:
                yield self._database
            except (sqlite3.Error, OSError) as e:
                raise to_store_error(self._path, e) from e

    def close(self) -> None:
        """Write what is queued and close the database; blocks. A second time does nothing."""
        if self._closed:
            return
        self._closed = True
        while self._lock.acquire() and not self._write_queue(_find_loop()) and self._locked_since is not None:
            time.sleep(_retry_delay())
        try:
            self._database.close()
        except (sqlite3.Error, OSError) as e:
            LOG.warning("%s; calls under way are settled when it is opened again", to_store_error(self._path, e))
        self._checkpoints.join()

    def _schedule_later(self, loop: asyncio.AbstractEventLoop) -> None:
        """Write within SETTLE_DELAY, where nothing is written before."""
        if self._scheduled_loop is not loop and self._delayed_loop is not loop:
            self._delayed_loop = loop
            loop.call_later(SETTLE_DELAY, self._flush_delayed, loop)

    def _flush_delayed(self, loop: asyncio.AbstractEventLoop) -> None:
        self._delayed_loop = None
        if self._queue and self._waits_since is not None:
            left = self._waits_since + SETTLE_DELAY - time.monotonic()
            if left < SETTLE_DELAY / 10:
                self._flush(loop)
            else:  # what was queued when this began is written: a busy ledger needs no transaction of its own
                self._delayed_loop = loop
                loop.call_later(left, self._flush_delayed, loop)

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._scheduled_loop is not loop:
            self._scheduled_loop = loop
            loop.call_soon(self._flush, loop)

    def _flush(self, loop: asyncio.AbstractEventLoop) -> None:
        """Write the queue from the event loop that runs, or schedule another attempt."""
        self._scheduled_loop = None
        if self._closed or self._retry_loop is loop:
            return
        if not self._lock.acquire(blocking=False):
            loop.call_later(_retry_delay(), self._schedule, loop)
        elif not self._write_queue(loop):
            if self._locked_since is not None:
                loop.call_later(_retry_delay(), self._schedule, loop)
            else:
                self._retry_loop = loop
                loop.call_later(RETRY_INTERVAL, self._retry, loop)
        else:
            self._checkpoints.begin_if_due()

    def _retry(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look whether the file can be written again, even where nothing is queued: until then no call is tried."""
        self._retry_loop = None
        self._flush(loop)

    def _write_queue(self, loop: asyncio.AbstractEventLoop | None) -> bool:
        """Write all that is queued and release the lock; return False where something is left to be tried again.

        `loop` is the one that runs, None where none does.
        """
        items: list[QueueItem] = []
        written = True
        try:
            while self._queue:
                items.append(self._queue.popleft())
            steps = [s for i in items if (s := i.step if isinstance(i, PendingCommit) else i) is not None]
            if items:
                self._database.write(steps)
            elif self.state.error is not None:
                self._write_probe(items)
            self._locked_since = None
            self._waits_since = None
            if self.state.error is not None:
                self.state.recover(self._path)
        except (sqlite3.Error, OSError, StoreError) as e:
            self._handle_error(items, e)
            written = False
            items = [i for i in items if isinstance(i, PendingCommit) and i.error is not None]
        finally:
            self._lock.release()
        self._checkpoints.steps += len(items)
        self._queue.extend(resolve_commits([i for i in items if isinstance(i, PendingCommit)], loop))
        return written

    def _write_probe(self, items: list[QueueItem]) -> None:
        """Write what a call takes, and take it back. Raises as the database does, and leaves in `items` what is due."""
        call = StartedCall("", time.time(), NO_KEY, "", "", "probe", 0.0)
        self._database.write([call])
        items.append(WithdrawnCall(call))
        self._database.write([WithdrawnCall(call)])

    def _handle_error(self, items: list[QueueItem], error: sqlite3.Error | OSError | StoreError) -> None:
        """Queue again what is to be tried again: everything while another process writes, else what has ended.

        A call that was to be started fails where the error is not a lock, or the lock has lasted BUSY_TIMEOUT.
        """
        now = time.monotonic()
        if is_locked(error) and now - (self._locked_since or now) < BUSY_TIMEOUT:
            self._locked_since = self._locked_since or now
            self._queue.extendleft(reversed(items))
            return
        self._locked_since = None
        store_error = to_store_error(self._path, error)
        self.state.fail(store_error)
        for item in items:
            if isinstance(item, PendingCommit):
                item.error = store_error
                if item.step is not None:
                    item.step.number = 0
        self._queue.extendleft(i for i in reversed(items) if not isinstance(i, PendingCommit))


def _find_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread, None where none does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _retry_delay() -> float:
    """Return the seconds until another writer may be done; random, so that two do not meet again and again."""
    return random.uniform(0.001, 0.005)  # noqa: S311
