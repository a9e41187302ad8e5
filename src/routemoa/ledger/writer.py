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

from routemoa.ledger.schema import BUSY, StoreError, checkpoint, locked, trouble
from routemoa.ledger.transactions import Begun, Ended, LedgerDatabase, Undone

__all__ = ["Writer"]

LOG = logging.getLogger("routemoa.ledger")
AGAIN = 1.0  # seconds until what could not be written is tried again
STEPS = 2000  # between checkpoints


class Waiter(Struct, eq=False):
    """A step, or None for all that came before it, and who waits until it is committed."""

    step: Begun | None
    future: asyncio.Future[None]
    loop: asyncio.AbstractEventLoop
    error: StoreError | None = None


Item = Waiter | Ended | Undone


class Writer:
    """Writes to a book until `close`."""

    def __init__(self, book: LedgerDatabase, path: Path) -> None:
        self._book = book
        self._path = path
        self._items: deque[Item] = deque()
        self._lock = threading.Lock()  # whoever has it writes: loops of several threads may share a store
        self._scheduled: asyncio.AbstractEventLoop | None = None  # the loop that will write
        self._stuck: float | None = None  # since when another process has had the file locked
        self._steps = 0  # since the last checkpoint
        self._checkpoint: threading.Thread | None = None
        self._closed = False

    def put(self, item: Item) -> None:
        """Write this down soon. Raises StoreError when the store is closed."""
        if self._closed:
            raise StoreError(f"{self._path}: the store is closed; make a new one")
        self._items.append(item)
        with suppress(RuntimeError):  # without a loop it is written with what comes next, or at the end
            self._schedule(asyncio.get_running_loop())

    async def done(self, step: Begun | None) -> None:
        """Wait until the step (None: all before) is committed. Raises OverBudget, StoreError."""
        loop = asyncio.get_running_loop()
        waiter = Waiter(step, loop.create_future(), loop)
        self.put(waiter)
        try:
            await waiter.future
        except asyncio.CancelledError:
            if step is not None:
                with suppress(StoreError):  # a closed store settles what is open
                    self.put(Undone(step))
            raise

    def close(self) -> None:
        """Write what waits, and end. A second time does nothing."""
        if self._closed:
            return
        self._closed = True
        while self._lock.acquire() and not self._attempt() and self._stuck is not None:
            time.sleep(_pause())
        try:
            self._book.close()
        except (sqlite3.Error, OSError) as e:
            LOG.warning("%s; calls under way are settled when it is opened again", trouble(self._path, e))
        if self._checkpoint is not None:
            self._checkpoint.join()

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._scheduled is not loop:
            self._scheduled = loop
            loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = None
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        if not self._lock.acquire(blocking=False):
            loop.call_later(_pause(), self._schedule, loop)
        elif not self._attempt():
            loop.call_later(AGAIN if self._stuck is None else _pause(), self._schedule, loop)
        elif self._steps >= STEPS and (self._checkpoint is None or not self._checkpoint.is_alive()):
            self._steps = 0
            self._checkpoint = threading.Thread(target=checkpoint, args=(self._path,), name="checkpoint", daemon=True)
            self._checkpoint.start()

    def _attempt(self) -> bool:
        """Write all that waits, and let go of the lock; False where something is left to be tried again."""
        items: list[Item] = []
        left = False
        try:
            while self._items:
                items.append(self._items.popleft())
            if items:
                self._book.write([s for i in items if (s := i.step if isinstance(i, Waiter) else i) is not None])
            self._stuck = None
        except (sqlite3.Error, OSError) as e:
            left = self._put_off(items, e)
            items = [i for i in items if isinstance(i, Waiter) and i.error is not None]
        finally:
            self._lock.release()
        self._steps += len(items)
        self._tell([i for i in items if isinstance(i, Waiter)])
        return not left

    def _put_off(self, items: list[Item], e: sqlite3.Error | OSError) -> bool:
        """Whether something is left for later: all, while another process writes; else what has ended."""
        now = time.monotonic()
        if locked(e) and now - (self._stuck or now) < BUSY:
            self._stuck = self._stuck or now
            self._items.extendleft(reversed(items))
            return True
        self._stuck = None
        error = trouble(self._path, e)
        LOG.warning("%s", error)
        for item in items:
            if isinstance(item, Waiter):
                item.error = error
                if item.step is not None:
                    item.step.number = 0
        self._items.extendleft(i for i in reversed(items) if not isinstance(i, Waiter))
        return bool(self._items)

    def _tell(self, waiters: Iterable[Waiter]) -> None:
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
                    self._items.append(Undone(waiter.step))


def _pause() -> float:
    """Seconds until the other process may be done; drawn, so that two do not meet again and again."""
    return random.uniform(0.001, 0.005)  # noqa: S311


def _resolve(waiter: Waiter) -> None:
    error = waiter.error or (waiter.step.refused if waiter.step is not None else None)
    if waiter.future.done():  # cancelled
        return
    if error is not None:
        waiter.future.set_exception(error)
    else:
        waiter.future.set_result(None)
