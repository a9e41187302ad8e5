"""The queue of steps that wait to be written, and the coroutines that wait for them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence

from msgspec import Struct

from routemoa.ledger.schema import StoreError
from routemoa.ledger.steps import FinishedCall, LedgerStep, StartedCall, WithdrawnCall

__all__ = ["Pending", "QueueItem", "StepQueue", "list_steps", "resolve"]

SETTLE_DELAY = 0.005
"""Seconds in which a call that has ended is settled: most often together with the start of the next one."""


class Pending(Struct, eq=False):
    """A step whose commit a coroutine waits for."""

    step: StartedCall | None
    """None waits for the steps queued before it."""
    future: asyncio.Future[None]
    loop: asyncio.AbstractEventLoop
    timer: asyncio.TimerHandle | None = None
    """Looks after a while whether it is time to wait no longer."""

    @property
    def is_free(self) -> bool:
        """Return whether it is a call that no budget depends on."""
        return self.step is not None and self.step.is_free


QueueItem = Pending | FinishedCall | WithdrawnCall


class StepQueue:
    """What is to be written, in its order. Any thread puts in; one takes out."""

    def __init__(self) -> None:
        self.closing_since: float | None = None
        """When no more was taken in, by `time.monotonic`."""
        self._items: deque[QueueItem] = deque()
        self._changes = threading.Condition()
        self._is_urgent = False
        self._in_flight = 0
        self._waits_since: float | None = None

    def __len__(self) -> int:
        return len(self._items)

    @property
    def backlog(self) -> tuple[int, float]:
        """Return how many items are not written yet, and for how many seconds the oldest of them has waited."""
        since, waiting = self._waits_since, len(self._items) + self._in_flight
        return waiting, 0.0 if since is None or not waiting else time.monotonic() - since

    def put(self, item: QueueItem) -> bool:
        """Add an item; return False where the queue is closed."""
        with self._changes:
            if self.closing_since is not None:
                return False
            self._items.append(item)
            if self._waits_since is None:
                self._waits_since = time.monotonic()
            self._is_urgent = self._is_urgent or not isinstance(item, FinishedCall)
            self._changes.notify()
            return True

    def wake(self) -> None:
        """Let the thread that takes out look around."""
        with self._changes:
            self._is_urgent = True
            self._changes.notify()

    def close(self) -> None:
        """Take nothing in any more."""
        with self._changes:
            if self.closing_since is None:
                self.closing_since = time.monotonic()
            self._changes.notify()

    def await_items(self, seconds: float) -> bool:
        """Wait until there is something to do, or for some seconds; return whether the queue is closed."""
        with self._changes:
            if not self._is_urgent and self.closing_since is None and not self._items:
                self._changes.wait(seconds)
            if self._items and not self._is_urgent and self.closing_since is None:
                self._changes.wait_for(lambda: self._is_urgent or self.closing_since is not None, SETTLE_DELAY)
            self._is_urgent = False
            return self.closing_since is not None

    def take(self, most: int) -> list[QueueItem]:
        """Take items out, to be written now."""
        with self._changes:
            items = [self._items.popleft() for _ in range(min(most, len(self._items)))]
            self._in_flight = len(items)
            return items

    def put_back(self, items: Sequence[QueueItem]) -> None:
        """Put items to the front again that could not be written; none in flight is left."""
        with self._changes:
            self._in_flight = 0
            self._items.extendleft(reversed(items))

    def confirm(self) -> None:
        """Count what is in flight as written."""
        with self._changes:
            self._in_flight = 0
            if not self._items:
                self._waits_since = None

    def add_withdrawn(self, calls: Iterable[WithdrawnCall]) -> None:
        """Add calls to be taken back, also where the queue is closed."""
        with self._changes:
            self._items.extend(calls)

    def list_free(self) -> list[Pending]:
        """Return the waiting calls that no budget depends on."""
        with self._changes:
            return [i for i in self._items if isinstance(i, Pending) and i.is_free]


def list_steps(items: Sequence[QueueItem]) -> list[LedgerStep]:
    """Return the steps of these items, in their order."""
    steps = [i.step if isinstance(i, Pending) else i for i in items]
    return [step for step in steps if step is not None]


def resolve(items: Iterable[QueueItem], error: StoreError | None = None) -> list[WithdrawnCall]:
    """Resolve the futures of what is waited for, each on its own loop; return what is to be taken back.

    That is the calls of loops that are closed: they will not be made.
    """
    loops: dict[asyncio.AbstractEventLoop, list[Pending]] = {}
    for item in items:
        if isinstance(item, Pending):
            loops.setdefault(item.loop, []).append(item)
    withdrawn: list[WithdrawnCall] = []
    for loop, pendings in loops.items():
        try:
            loop.call_soon_threadsafe(_resolve_here, pendings, error)
        except RuntimeError:
            withdrawn += [WithdrawnCall(p.step) for p in pendings if p.step is not None and not p.future.done()]
    return withdrawn


def _resolve_here(pendings: Sequence[Pending], error: StoreError | None) -> None:
    for pending in pendings:
        refusal = error or (pending.step.refusal if pending.step is not None else None)
        if pending.future.done():  # cancelled, or it has waited too long
            continue
        if refusal is not None:
            pending.future.set_exception(refusal)
        else:
            pending.future.set_result(None)
