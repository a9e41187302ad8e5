"""How long endpoints are waited for."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import astuple

from routemoa.core.types import Patience

__all__ = ["Timeouts"]


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
        default = Patience(self.connect, self.first_byte, self.idle, self.total)
        return self if patience == Patience() else Timeouts(*astuple(patience.with_defaults(default)))
