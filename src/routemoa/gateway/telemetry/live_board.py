"""What a server does at this moment, and did in the last hour, for the page Live. Bounded, however busy it is."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Protocol

from msgspec import Struct

from routemoa.core.protocols import CallResult

__all__ = [
    "BUCKET_SECONDS",
    "Bucket",
    "FinishedRequest",
    "LiveBoard",
    "LiveRequest",
    "MemberState",
    "QueueState",
    "RunningRequest",
    "Tally",
    "WorkerMoment",
]

BUCKET_SECONDS = 15.0
MAX_BUCKETS = 240
"""An hour."""
MAX_RECENT = 500
"""Requests that have ended."""
MAX_KEYS = 200
"""Tenants that one bucket counts apart; further ones are only in its sum."""


class Tally(Struct):
    """What happened in one bucket."""

    requests: int = 0
    """That ended."""
    errors: int = 0
    """Of them, those with a status of 500 and above, and those refused by overload or rates."""
    dollars: float = 0.0
    """Charged for calls that ended."""


class Bucket(Struct):
    """A quarter of a minute."""

    start: float
    """Seconds since the epoch."""
    total: Tally
    by_key: dict[str | None, Tally]
    """Tenant -> its part."""


class FinishedRequest(Struct, frozen=True):
    """A request that has ended."""

    at: float
    """Seconds since the epoch."""
    tenant: str | None
    model: str | None
    """The method or member that it named."""
    status: int | None
    """None where the caller left before there was a response."""
    first: float | None
    """Seconds until the first piece of a stream."""
    seconds: float


class RunningRequest(Struct, frozen=True):
    """A request that is being answered, at a moment."""

    number: int
    """Counts the requests of a worker."""
    tenant: str | None
    model: str | None
    """The method or member that it named."""
    began: float
    """Seconds since the epoch."""
    first: float | None
    """Seconds until the first piece of its response; None while there was none."""


class MemberState(Struct, frozen=True):
    """How well a member's endpoint is, as `Health.to_plain` says it."""

    name: str
    state: str
    failures: int
    retry_in: float | None
    reason: str | None


class QueueState(Struct, frozen=True):
    """What waits for its turn."""

    waiting: int
    refused: int
    limit: int
    """Requests that may run at once."""
    busy: float
    """The share of its time that the event loop is busy, in [0, 1]."""


class WorkerMoment(Struct, frozen=True):
    """What one process of a server does at a moment, and did in the last hour."""

    worker: int | None
    """Its number, from 1; None where there is one process."""
    at: float
    """Seconds, on the clock of `monotonic()`, which the processes of a machine share."""
    running: list[RunningRequest]
    """In the order in which they came."""
    recent: list[FinishedRequest]
    """The newest last."""
    buckets: list[Bucket]
    """The newest last."""
    members: list[MemberState]
    queue: QueueState


class Watched(Protocol):
    """A response while it is written."""

    @property
    def first_piece(self) -> float | None:
        """When the first piece of its body was sent, on the clock of `monotonic()`."""


class LiveRequest:
    """One request that is being answered.

    Args:
        board: that it is on.
        number: counts the requests.
        tenant: whose it is.
        writer: writes its response.
    """

    __slots__ = ("_board", "arrived", "began", "model", "number", "tenant", "writer")

    def __init__(self, board: LiveBoard, number: int, tenant: str | None, writer: Watched) -> None:
        self._board, self.number, self.tenant, self.writer = board, number, tenant, writer
        self.model: str | None = None
        self.arrived = board.clock()
        self.began = board.wall_clock()

    def add_call(self, result: CallResult) -> None:
        """Count the dollars of a call of it that has ended."""
        if result.charged:
            for tally in self._board.tallies(self.tenant):
                tally.dollars += result.charged

    def end(self, status: int | None, first: float | None) -> None:
        """Take it off the board.

        Args:
            status: of its response; None where there was none.
            first: seconds until the first piece of a stream.
        """
        self._board.remove(self, status, first)


class LiveBoard:
    """The requests of this moment and the sums of the last hour.

    Args:
        clock: seconds, never going back, as in `Watched`.
        wall_clock: seconds since the epoch.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self.clock, self.wall_clock = clock, wall_clock
        self.running: dict[int, LiveRequest] = {}
        """In the order in which they came."""
        self.recent: deque[FinishedRequest] = deque(maxlen=MAX_RECENT)
        """The newest last."""
        self.buckets: deque[Bucket] = deque(maxlen=MAX_BUCKETS)
        """The newest last; there is none for a time in which nothing happened."""
        self._numbers = count(1)

    def list_running(self) -> list[RunningRequest]:
        """Return the requests that are being answered, in the order in which they came."""
        return [_describe(request) for request in self.running.values()]

    def add(self, tenant: str | None, writer: Watched) -> LiveRequest:
        """Put a request on the board; it must be ended."""
        request = LiveRequest(self, next(self._numbers), tenant, writer)
        self.running[request.number] = request
        return request

    def remove(self, request: LiveRequest, status: int | None, first: float | None) -> None:
        """Take a request off the board, and count it."""
        if self.running.pop(request.number, None) is None:
            return
        seconds = self.clock() - request.arrived
        self.recent.append(
            FinishedRequest(self.wall_clock(), request.tenant, request.model, status, first, round(seconds, 4))
        )
        for tally in self.tallies(request.tenant):
            tally.requests += 1
            tally.errors += status is not None and (status >= 500 or status == 429)

    def tallies(self, tenant: str | None) -> list[Tally]:
        """Return what is counted now: the sum, and the tenant's part where it is counted apart."""
        start = self.wall_clock() // BUCKET_SECONDS * BUCKET_SECONDS
        if not self.buckets or self.buckets[-1].start < start:
            self.buckets.append(Bucket(start, Tally(), {}))
        bucket = self.buckets[-1]
        own = bucket.by_key.get(tenant)
        if own is None:
            if len(bucket.by_key) >= MAX_KEYS:
                return [bucket.total]
            own = bucket.by_key[tenant] = Tally()
        return [bucket.total, own]


def _describe(request: LiveRequest) -> RunningRequest:
    first = request.writer.first_piece
    passed = None if first is None else round(first - request.arrived, 3)
    return RunningRequest(request.number, request.tenant, request.model, round(request.began, 3), passed)
