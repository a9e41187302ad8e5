"""Sheds load: admits requests while the server keeps up, lets the others wait for a bounded time, refuses the rest."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections import deque
from collections.abc import Callable
from time import monotonic

from routemoa.gateway.errors import Overloaded
from routemoa.gateway.guards.descriptors import RESERVED, count_descriptors, descriptor_limit
from routemoa.gateway.guards.event_loop import ServerLoop

__all__ = ["LoadGate", "RequestLimit"]

logger = logging.getLogger("routemoa.gateway")

TICK = 0.1
"""Seconds between two looks at the load."""
FIRST_LIMIT = 100.0
"""Requests at the same time, until the load is known."""
MIN_LIMIT = 16.0
HIGH, LOW = 0.92, 0.80
"""Shares of its time that the event loop is busy: above, fewer requests are admitted; below, more may be."""
SHRINK, GROW = 0.93, 1.25
SETTLES = 0.5
"""Seconds after which another limit shows in how busy the event loop is."""
STARTED_AT_ONCE = 16
"""Requests that begin in one turn of the event loop, and so share a transaction of the ledger: what else there is to do
does not wait for a whole crowd."""
QUEUE_SHARE, SHORT_QUEUE = 0.25, 3.0
"""Of what a request takes of late, a share that it may wait, so that waiting does not make it much longer; but at least
so many seconds: who is refused comes back after 2 or 3 at the earliest."""
DESCRIPTORS_PER_REQUEST = 4
"""That a request may need beyond its own connection."""
MAX_RETRY_AFTER = 30.0
"""Seconds, before the jitter."""


class RequestLimit:
    """How many requests the server can answer at the same time, learned from how busy it is. Pure."""

    def __init__(self) -> None:
        self.value = FIRST_LIMIT
        self.busy = 0.0
        """The share of its time, of late, that the event loop was busy; in [0, 1]."""
        self._changed = -math.inf

    def observe(self, now: float, busy: float, running: int) -> None:
        """Take a look at the load.

        Args:
            now: seconds, on any clock.
            busy: the share of the time since the last look that the event loop was busy, in [0, 1].
            running: requests that are being answered.
        """
        self.busy += 0.3 * (busy - self.busy)
        if now - self._changed < SETTLES:
            return
        if self.busy > HIGH:
            self._changed = now
            self.value = max(MIN_LIMIT, SHRINK * min(self.value, max(running, 0.5 * self.value)))
        elif self.busy < LOW and running >= self.value - 1.0:
            self._changed = now
            self.value = GROW * self.value + 1.0


class RequestPlace:
    """The place of one request, as a context: entering it waits for its turn. Raises Overloaded."""

    def __init__(self, gate: LoadGate) -> None:
        self._gate = gate
        self._began = 0.0

    async def __aenter__(self) -> None:
        self._began = await self._gate.enter()

    async def __aexit__(self, *_: object) -> None:
        self._gate.leave(self._began)


class LoadGate:
    """Admits requests.

    Args:
        queue_seconds: that a request may wait for its turn, at most.
        clock: seconds.
        jitter: a number in [0, 1] for each refusal, so that callers do not come back as one.
        on_refuse: called at each refusal.
    """

    def __init__(
        self,
        queue_seconds: float,
        *,
        clock: Callable[[], float] = monotonic,
        jitter: Callable[[], float] = random.random,
        on_refuse: Callable[[], None] = lambda: None,
    ) -> None:
        self.limit = RequestLimit()
        self.running = 0
        self.refused = 0
        self._queue_seconds = queue_seconds
        self._clock = clock
        self._jitter = jitter
        self._on_refuse = on_refuse
        self._queue: deque[asyncio.Future[bool]] = deque()
        self._seconds = 0.0  # that a request takes, of late
        self._started = 0  # in this turn of the event loop, or over several of one that does not count them
        self._turn = 0
        self._booked = -math.inf
        """Until when refused requests were told to wait: each has a turn of its own, so they do not return as one."""
        self._descriptors = math.inf  # that are left

    @property
    def waiting(self) -> int:
        """Requests that wait for their turn."""
        return len(self._queue)

    def place(self) -> RequestPlace:
        """Return the place of one request, to be held while it is answered."""
        return RequestPlace(self)

    async def enter(self) -> float:
        """Wait for a place; return when it was taken, on the gate's clock. Raises Overloaded."""
        loop = asyncio.get_running_loop()
        if isinstance(loop, ServerLoop) and loop.turn != self._turn:
            self._turn, self._started = loop.turn, 0
        if not self._queue and self._is_free:
            self._start()
        else:
            await self._wait_for_turn()
        return self._clock()

    def leave(self, began: float) -> None:
        """Give the place back that was taken at that moment."""
        self._leave(self._clock() - began)

    async def watch(self) -> None:
        """Look at the load from time to time, for ever."""
        loop = asyncio.get_running_loop()
        idle = loop.idle_seconds if isinstance(loop, ServerLoop) else 0.0
        then = self._clock()
        while True:
            await asyncio.sleep(TICK)
            now = self._clock()
            passed = max(1e-6, now - then)
            if isinstance(loop, ServerLoop):
                busy = 1.0 - (loop.idle_seconds - idle) / passed
                idle = loop.idle_seconds
            else:
                busy = 1.0 - TICK / passed  # by how late this look is
            then = now
            self._look(now, min(1.0, max(0.0, busy)))

    def _look(self, now: float, busy: float) -> None:
        self.limit.observe(now, busy, self.running)
        used = count_descriptors()
        self._descriptors = math.inf if used is None else descriptor_limit() - RESERVED - used
        self._admit_waiting()

    @property
    def _is_free(self) -> bool:
        has_place = self.running < self.limit.value and self._descriptors >= DESCRIPTORS_PER_REQUEST
        return has_place and self._started < STARTED_AT_ONCE

    @property
    def _turn_seconds(self) -> float:
        """Seconds between two requests that get their turn, by how long requests took of late."""
        return self._seconds / self.limit.value

    @property
    def _expected_wait(self) -> float:
        """Seconds until one more request would have its turn."""
        places = min(self.limit.value - self.running, self._descriptors / DESCRIPTORS_PER_REQUEST)
        return max(0.0, self.waiting + 1 - max(0.0, places)) * self._turn_seconds

    @property
    def _patience(self) -> float:
        """Seconds that a request may wait now."""
        return min(self._queue_seconds, max(SHORT_QUEUE, QUEUE_SHARE * self._seconds))

    async def _wait_for_turn(self) -> None:
        if self._expected_wait > self._patience:
            raise self._refuse()
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        expiry = loop.call_later(self._patience, self._expire, turn)
        self._queue.append(turn)
        has_turn = False
        try:
            has_turn = await turn
        except asyncio.CancelledError:
            has_turn = not turn.cancelled() and turn.result()
            if has_turn:
                self._leave(None)
            raise
        finally:
            expiry.cancel()
            if not has_turn and turn in self._queue:
                self._queue.remove(turn)
        if not has_turn:
            raise self._refuse()

    def _expire(self, turn: asyncio.Future[bool]) -> None:
        """End a wait that was too long."""
        if not turn.done():
            turn.set_result(False)

    def _start(self) -> None:
        self._started += 1
        if self._started == STARTED_AT_ONCE:
            asyncio.get_running_loop().call_soon(self._begin_turn)
        self.running += 1
        self._descriptors -= DESCRIPTORS_PER_REQUEST

    def _begin_turn(self) -> None:
        self._started = 0
        if self._queue:
            self._admit_waiting()

    def _leave(self, seconds: float | None) -> None:
        """End a request that took so many seconds; None where it never began."""
        self.running -= 1
        if seconds is not None:
            self._seconds += 0.05 * (seconds - self._seconds) if self._seconds else seconds
        if self._queue:
            self._admit_waiting()

    def _admit_waiting(self) -> None:
        while self._queue and self._is_free:
            turn = self._queue.popleft()
            if not turn.done():
                self._start()
                turn.set_result(True)

    def _refuse(self) -> Overloaded:
        self.refused += 1
        self._on_refuse()
        logger.warning("overloaded: a request was refused; %d are being answered, %d wait", self.running, self.waiting)
        now = self._clock()
        turn = min(max(self._booked, now + self._expected_wait), now + MAX_RETRY_AFTER)
        self._booked = turn + self._turn_seconds
        return Overloaded(math.ceil(max(1.0, turn - now) * (1.0 + 0.5 * self._jitter())))
