"""When to call again, and how long to wait before. Pure functions."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from msgspec import Struct

from routemoa.core.errors import ModelError, ModelHTTPError, Unreachable

__all__ = ["RetryPolicy", "is_retryable", "parse_retry_after"]


class RetryPolicy(Struct, frozen=True):
    """How often a call is tried, and the back-off between: full jitter up to `base` * 2^n seconds, at most `cap`."""

    attempts: int = 4
    base: float = 0.5
    cap: float = 20.0

    def delay(self, failures: int, share: float, asked: float | None = None) -> float:
        """Seconds to wait after so many `failures`; `share` in [0, 1] is the jitter.

        What the endpoint `asked` for is honoured, with up to a tenth more, so that callers do not return as one.
        """
        if asked is not None:
            return asked * (1 + 0.1 * share)
        return float(share * min(self.cap, self.base * 2 ** (failures - 1)))


def is_retryable(error: ModelError, *, local: bool) -> bool:
    """Connection errors and 408, 409, 429 and 5xx, as long as nothing had been produced.

    A local model that cannot be reached has crashed: its caller is told.
    """
    if error.produced:
        return False
    if isinstance(error, ModelHTTPError):
        return error.status in {408, 409, 429} or error.status >= 500
    return isinstance(error, Unreachable) and not local


def parse_retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds from a Retry-After header: a number or an HTTP date; None when it is absent or unreadable."""
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
