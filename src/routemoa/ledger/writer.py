"""When it is written: at once, and all that waits in one transaction, without waiting for anything on the event loop.

A transaction takes some ten microseconds where nobody else has the file locked: less than to hand it to a thread and
back. And a thread would starve beside a busy loop, since it needs the interpreter's lock again for every statement.
So the loop itself writes, and tries again later where another process is writing; what waits for the disk (the
checkpoints) has a thread.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from routemoa.ledger.schema import BUSY_TIMEOUT, StoreError, write_checkpoint, is_locked, to_store_error
from routemoa.ledger.transactions import StartedCall, FinishedCall, LedgerDatabase, WithdrawnCall

__all__ = ["Writer"]

LOG = logging.getLogger("routemoa.ledger")
RETRY_INTERVAL = 1.0  # seconds until what could not be written is tried again
CHECKPOINT_INTERVAL = 2000  # between checkpoints


class PendingCommit(Struct, eq=False):
    """A step, or None for all that came before it, and who waits until it is committed."""

    step: StartedCall | None
    future: asyncio.Future[None]
    loop: asyncio.AbstractEventLoop
    error: StoreError | None = None


QueueItem = PendingCommit | FinishedCall | WithdrawnCall


class Writer:
    """Writes to a book until `close`."""

    def __init__(self, book: LedgerDatabase, path: Path) -> None:
        self._database = book
        self._path = path
        self._queue: deque[QueueItem] = deque()
        self._lock = threading.Lock()  # whoever has it writes: loops of several threads may share a store
        self._scheduled_loop: asyncio.AbstractEventLoop | None = None  # the loop that will write
        self._locked_since: float | None = None  # since when another process has had the file locked
        self._steps_since_checkpoint = 0  # since the last checkpoint
        self._checkpoint_thread: threading.Thread | None = None
        self._closed = False

    def enqueue(self, item: QueueItem) -> None:
        """Write this down soon. Raises StoreError when the store is closed."""
        if self._closed:
            raise StoreError(f"{self._path}: the store is closed; make a new one")
        self._queue.append(item)
        with suppress(RuntimeError):  # without a loop it is written with what comes next, or at the end
            self._schedule(asyncio.get_running_loop())

    async def commit(self, step: StartedCall | None) -> None:
        """Wait until the step (None: all before) is committed. Raises OverBudget, StoreError."""
        loop = asyncio.get_running_loop()
        waiter = PendingCommit(step, loop.create_future(), loop)
        self.enqueue(waiter)
        try:
            await waiter.future
        except asyncio.CancelledError:
            if step is not None:
                with suppress(StoreError):  # a closed store settles what is open
                    self.enqueue(WithdrawnCall(step))
            raise

    def close(self) -> None:
        """Write what waits, and end. A second time does nothing."""
        if self._closed:
            return
        self._closed = True
        while self._lock.acquire() and not self._write_queue() and self._locked_since is not None:
            time.sleep(_retry_delay())
        try:
            self._database.close()
        except (sqlite3.Error, OSError) as e:
            LOG.warning("%s; calls under way are settled when it is opened again", to_store_error(self._path, e))
        if self._checkpoint_thread is not None:
            self._checkpoint_thread.join()

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._scheduled_loop is not loop:
            self._scheduled_loop = loop
            loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled_loop = None
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        if not self._lock.acquire(blocking=False):
            loop.call_later(_retry_delay(), self._schedule, loop)
        elif not self._write_queue():
            loop.call_later(RETRY_INTERVAL if self._locked_since is None else _retry_delay(), self._schedule, loop)
        elif self._steps_since_checkpoint >= CHECKPOINT_INTERVAL and (self._checkpoint_thread is None or not self._checkpoint_thread.is_alive()):
            self._steps_since_checkpoint = 0
            self._checkpoint_thread = threading.Thread(target=write_checkpoint, args=(self._path,), name="checkpoint", daemon=True)
            self._checkpoint_thread.start()

    def _write_queue(self) -> bool:
        """Write all that waits, and let go of the lock; False where something is left to be tried again."""
        items: list[QueueItem] = []
        left = False
        try:
            while self._queue:
                items.append(self._queue.popleft())
            if items:
                self._database.write([s for i in items if (s := i.step if isinstance(i, PendingCommit) else i) is not None])
            self._locked_since = None
        except (sqlite3.Error, OSError) as e:
            left = self._handle_error(items, e)
            items = [i for i in items if isinstance(i, PendingCommit) and i.error is not None]
        finally:
            self._lock.release()
        self._steps_since_checkpoint += len(items)
        self._notify([i for i in items if isinstance(i, PendingCommit)])
        return not left

    def _handle_error(self, items: list[QueueItem], e: sqlite3.Error | OSError) -> bool:
        """Whether something is left for later: all, while another process writes; else what has ended."""
        now = time.monotonic()
        if is_locked(e) and now - (self._locked_since or now) < BUSY_TIMEOUT:
            self._locked_since = self._locked_since or now
            self._queue.extendleft(reversed(items))
            return True
        self._locked_since = None
        error = to_store_error(self._path, e)
        LOG.warning("%s", error)
        for item in items:
            if isinstance(item, PendingCommit):
                item.error = error
                if item.step is not None:
                    item.step.number = 0
        self._queue.extendleft(i for i in reversed(items) if not isinstance(i, PendingCommit))
        return bool(self._queue)

    def _notify(self, waiters: Iterable[PendingCommit]) -> None:
        try:
            here: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        for waiter in waiters:
            if waiter.loop is here:
                _resolve(waiter)
                continue
            try:
                waiter.loop.call_soon_threadsafe(_resolve, waiter)
            except RuntimeError:  # that loop is closed: nobody makes the call
                if waiter.step is not None:
                    self._queue.append(WithdrawnCall(waiter.step))


def _retry_delay() -> float:
    """Seconds until the other process may be done; drawn, so that two do not meet again and again."""
    return random.uniform(0.001, 0.005)  # noqa: S311


def _resolve(waiter: PendingCommit) -> None:
    error = waiter.error or (waiter.step.refusal if waiter.step is not None else None)
    if waiter.future.done():  # cancelled
        return
    if error is not None:
        waiter.future.set_exception(error)
    else:
        waiter.future.set_result(None)
