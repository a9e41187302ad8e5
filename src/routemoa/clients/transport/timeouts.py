"""How long endpoints are waited for."""

from __future__ import annotations

from functools import lru_cache
from time import monotonic

from msgspec import Struct
from msgspec.structs import astuple

from routemoa.core.models.patience import Patience

__all__ = ["Timeouts"]


UNSET = Patience()


class Timeouts(Struct, frozen=True):
    """Seconds to wait for an endpoint; generous, since a model may load or think for minutes before it begins."""

    connect: float = 3.0
    """For each attempt."""
    first_byte: float = 300.0
    """For each attempt."""
    idle: float = 120.0
    """Between two pieces of a response."""
    total: float = 1200.0
    """For all attempts of a call together."""

    def with_patience(self, patience: Patience) -> Timeouts:
        """Return these times, with those that `patience` sets in their place."""
        if patience == UNSET:
            return self
        default = Patience(self.connect, self.first_byte, self.idle, self.total)
        return Timeouts(*astuple(patience.with_defaults(default)))

    def bound_wait(self, limit: float, reason: str, deadline: float) -> tuple[float, str]:
        """Return the seconds to wait now, and the reason to give when they are over.

        Args:
            limit: seconds.
            reason: to give where it is `limit` that ends the wait; its seconds are added.
            deadline: of the call, all its attempts together, on the clock of `monotonic()`.
        """
        left = deadline - monotonic()
        if limit < left:
            return limit, _explain(reason, limit)
        return max(0.0, left), _explain("no answer within", self.total, ", all attempts together")


@lru_cache(maxsize=1024)
def _explain(before: str, seconds: float, after: str = "") -> str:
    return f"{before} {seconds:g} s{after}"
