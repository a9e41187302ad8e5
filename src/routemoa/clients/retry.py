"""When to call again and how long to wait before, and the one loop that does it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import inf
from time import monotonic
from typing import Protocol, TypeVar, runtime_checkable

from msgspec import Struct

from routemoa.core.errors import ModelError, ModelHTTPError, Unaffordable, Unreachable
from routemoa.core.protocols import Client
from routemoa.core.types import Completion, ModelSpec, Request, Thinking

__all__ = ["AttemptClient", "Retry", "RetryPolicy", "is_retryable", "parse_retry_after", "with_retries"]

T = TypeVar("T")


class RetryPolicy(Struct, frozen=True):
    """How often a call is tried, and the back-off between attempts: full jitter up to `base` * 2^n seconds."""

    attempts: int = 4
    base: float = 0.5
    """Seconds."""
    cap: float = 20.0
    """Seconds of back-off at most."""

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
        self._policy, self._local, self._sleep, self._jitter = policy, local, sleep, jitter

    async def wait(self, error: ModelError, until: float) -> None:
        """Wait before the next attempt; raise `error` where none is worth it or could begin before `until`."""
        self.failures += 1
        if self.failures >= self._policy.attempts or not is_retryable(error, local=self._local):
            raise error
        asked = error.retry_after if isinstance(error, ModelHTTPError) else None
        delay = self._policy.delay(self.failures, self._jitter(), asked)
        if monotonic() + delay >= min(self.deadline, until):
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


async def with_retries(
    attempt: Callable[[], AsyncGenerator[T, None]], retry: Retry, until: float = inf
) -> AsyncGenerator[T, None]:
    """Yield the pieces of the first attempt that yields any; attempts that fail before are repeated.

    Args:
        attempt: begins an attempt.
        retry: decides whether to try again.
        until: no attempt begins after this moment, on the clock of `monotonic()`.

    Raises:
        ModelError: the last attempt's. Where a repeated attempt is unaffordable: the one before, which says more.
    """
    last: ModelError | None = None
    while True:
        began = False
        try:
            async with aclosing(attempt()) as pieces:
                async for piece in pieces:
                    began = True
                    yield piece
            return
        except Unaffordable as e:
            raise last or e from e.__cause__
        except ModelError as e:
            if began:
                raise
            last = e
            await retry.wait(e, until)


def is_retryable(error: ModelError, *, local: bool) -> bool:
    """Return whether another attempt may help: connection errors, 408, 409, 429 and 5xx before any output.

    A local model that cannot be reached has crashed: its caller hears of it.
    """
    if error.produced:
        return False
    if isinstance(error, ModelHTTPError):
        return error.status in {408, 409, 429} or error.status >= 500
    return isinstance(error, Unreachable) and not local


def parse_retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds of a Retry-After header, a number or an HTTP date; None where absent or unreadable."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
        except ValueError:
            return None
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        seconds = (when - (now or datetime.now(UTC))).total_seconds()
    return max(0.0, seconds) if seconds < 1e9 else None
