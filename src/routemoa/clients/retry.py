"""When to call again and how long to wait before, and the one loop that does it."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import inf
from time import monotonic
from typing import Protocol, TypeVar, runtime_checkable

from msgspec import Struct
from msgspec.structs import replace

from routemoa.clients.faults import diagnose, is_request_fault
from routemoa.core.errors import ModelError, ModelHTTPError, Unaffordable, Unreachable
from routemoa.core.protocols import Client
from routemoa.core.types import Completion, ModelSpec, Request, Thinking

__all__ = [
    "AttemptClient",
    "PatientClient",
    "Retry",
    "RetryPolicy",
    "is_retryable",
    "parse_retry_after",
    "read_retry_after",
    "with_retries",
]

T = TypeVar("T")


MAX_RETRY_AFTER = 86400.0
"""Seconds of a Retry-After at most; what is longer counts as a day."""
ABSURD = 1e9
"""Seconds: a Retry-After beyond is a fault of its endpoint and is not read."""
IN_PLACE_ATTEMPTS = 2
IN_PLACE_WAIT = 5.0
"""Seconds that a query waits for the last member to try once more."""


class RetryPolicy(Struct, frozen=True):
    """How often a call is tried, and the back-off between attempts: full jitter up to `base` * 2^n seconds."""

    attempts: int = 4
    base: float = 0.5
    """Seconds."""
    cap: float = 20.0
    """Seconds of back-off at most."""
    longest: float = inf
    """Seconds of a wait that an endpoint may ask for; where it asks for more, the call is not repeated."""

    @property
    def in_place(self) -> RetryPolicy:
        """The policy of a call for which another member could be asked: repeated once, after seconds."""
        return replace(self, attempts=min(self.attempts, IN_PLACE_ATTEMPTS), longest=min(self.longest, IN_PLACE_WAIT))

    def delay(self, failures: int, share: float, asked: float | None = None) -> float:
        """Return the seconds to wait after so many `failures`; `share` in [0, 1] is the jitter.

        A wait that the endpoint `asked` for is honoured, plus up to a tenth, so that callers do not return as one.
        """
        if asked is not None:
            return asked * (1 + 0.1 * share)
        return float(share * min(self.cap, self.base * 2 ** (failures - 1)))


class Retry:
    """The attempts of one call: counts failures and waits between attempts.

    Args:
        deadline: when all attempts have to be over, on the clock of `monotonic()`.
        local: the model runs in the embedded runtime.
        sleep: waits so many seconds.
        jitter: a number in [0, 1] for each wait.
    """

    def __init__(
        self,
        policy: RetryPolicy = RetryPolicy(),  # noqa: B008  (frozen)
        deadline: float = inf,
        *,
        local: bool = False,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.deadline = deadline
        self.failures = 0
        self.may_repeat: Callable[[], bool] = lambda: True
        """Asked before a repetition: false where another member can be asked instead."""
        self._policy, self._local, self._sleep, self._jitter = policy, local, sleep, jitter
        self._last: ModelError | None = None

    async def recover(
        self, error: ModelError, until: float = inf, moves_on: Callable[[ModelError], bool] | None = None
    ) -> None:
        """Return when the next attempt may begin after one that failed before its first piece.

        Args:
            error: of the attempt.
            until: no attempt begins after this moment, on the clock of `monotonic()`.
            moves_on: true where the next attempt is made elsewhere, at once.

        Raises:
            ModelError: none is to be made. Where this one was unaffordable: the error of the one before, which says
                more.
        """
        if isinstance(error, Unaffordable):
            raise self._last or error from error.__cause__
        self._last = error
        if moves_on is None or monotonic() >= min(self.deadline, until) or not moves_on(error):
            await self.wait(error, until)

    async def wait(self, error: ModelError, until: float) -> None:
        """Wait before the next attempt; raise `error` where none is worth it or could begin before `until`."""
        error.retried = self.failures > 0
        self.failures += 1
        if self.failures >= self._policy.attempts or not is_retryable(error, local=self._local):
            raise error
        asked = error.retry_after if isinstance(error, ModelHTTPError) else None
        delay = self._policy.delay(self.failures, self._jitter(), asked)
        if (asked or 0.0) > self._policy.longest or monotonic() + delay >= min(self.deadline, until):
            raise error
        if not self.may_repeat():
            raise error
        await self._sleep(delay)


@runtime_checkable
class AttemptClient(Client, Protocol):
    """A client whose calls can be made one attempt at a time, so that each attempt can be paid for."""

    def new_retry(self, model: ModelSpec) -> Retry:
        """Return the attempts of a call that begins now."""
        ...

    def attempt(
        self, model: ModelSpec, request: Request, deadline: float
    ) -> AsyncGenerator[str | Thinking | Completion, None]:
        """Yield what one attempt of `stream` gives, until `deadline` on the clock of `monotonic()`."""
        ...


@runtime_checkable
class PatientClient(Protocol):
    """A client that can also repeat a call as long as it takes, where no other model can be asked."""

    def new_patient_retry(self, model: ModelSpec) -> Retry:
        """Return the attempts of a call that begins now."""
        ...


async def with_retries(
    attempt: Callable[[], AsyncGenerator[T, None]],
    retry: Retry,
    until: float = inf,
    moves_on: Callable[[ModelError], bool] | None = None,
) -> AsyncGenerator[T, None]:
    """Yield the pieces of the first attempt that yields any; attempts that fail before are repeated.

    Args:
        attempt: begins an attempt.
        retry: decides whether to try again.
        until: no attempt begins after this moment, on the clock of `monotonic()`.
        moves_on: asked after a failure: true where the next attempt is made elsewhere, at once.

    Raises:
        ModelError: as `Retry.recover` does.
    """
    while True:
        began = False
        try:
            async with aclosing(attempt()) as pieces:
                async for piece in pieces:
                    began = True
                    yield piece
            return
        except ModelError as e:
            if began:
                raise
            await retry.recover(e, until, moves_on)


def is_retryable(error: ModelError, *, local: bool) -> bool:
    """Return whether another attempt may help: connection errors, 408, 409, 429 and 5xx before any output.

    A local model that cannot be reached has crashed: its caller hears of it. A quota that is used up stays so.
    """
    if error.produced or is_request_fault(error):
        return False
    if isinstance(error, ModelHTTPError):
        fault = diagnose(error, 0.0)
        passing = error.status in {408, 409, 425, 429} or error.status >= 500
        return passing and fault is not None and not fault.permanent
    return isinstance(error, Unreachable) and not local


def read_retry_after(headers: Mapping[str, str], body: bytes = b"") -> float | None:
    """Return the seconds after which an endpoint wants to be called again, at most a day; None where it says nothing.

    Args:
        headers: `retry-after`, else `retry-after-ms` of OpenAI and `x-ms-retry-after-ms` of Azure; in lower case.
        body: of the error; Google's has `retryDelay`, others say "try again in 7.66s".
    """
    seconds = parse_retry_after(headers.get("retry-after"))
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        if seconds is None and (milliseconds := parse_retry_after(headers.get(name))) is not None:
            seconds = milliseconds / 1000
    if seconds is None and (m := DELAY_IN_BODY.search(body[:8000].decode("utf-8", "replace"))):
        units = {"ms": 0.001, "m": 60.0, "h": 3600.0}
        seconds = sum(float(n) * units.get(unit, 1.0) for n, unit in DELAY_PART.findall(m[1])[:4])
    return None if seconds is None else min(seconds, MAX_RETRY_AFTER)


DELAY_IN_BODY = re.compile(
    r"(?:\"retryDelay\":\s{0,4}\"|(?:try again|retry(?: your request)?) (?:in|after) )"
    r"((?:\d{1,9}(?:\.\d{1,9})?\s?(?:ms|h|m|s)[a-z]{0,10}\s?){1,4})"
)
DELAY_PART = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s?(ms|h|m|s)")


def parse_retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds of a Retry-After header, a number or an HTTP date; None where absent or unreadable.

    A time that is over is 0, and one that is longer than a day is a day.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
            when = when if when.tzinfo else when.replace(tzinfo=UTC)
            seconds = (when - (now or datetime.now(UTC))).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return None
    return min(max(0.0, seconds), MAX_RETRY_AFTER) if abs(seconds) < ABSURD else None
