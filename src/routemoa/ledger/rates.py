"""What a store must do to hold rates for several gateways: decide on steps, and let the streams of dead ones expire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from routemoa.core.access.tenants import Tenant

__all__ = ["RATE_LEASE_SECONDS", "RateDecision", "RateStep", "RateStore"]

RATE_LEASE_SECONDS = 20.0


class RateStep(Struct, frozen=True):
    """What is to be counted for a tenant."""

    tenant: Tenant
    requests: float = 0.0
    tokens: float = 0.0
    """More than were counted; negative where fewer were used."""
    streams: int = 0
    """More, or fewer, that this process serves."""
    is_forced: bool = True
    """Count it whether or not it fits."""
    least_requests: float = 0.0
    """Were used at least, as this process has counted while it was alone."""
    least_tokens: float = 0.0


class RateDecision(Struct, frozen=True):
    """Whether a step was counted; and what is used now, of all processes: requests, tokens, and streams under way."""

    is_taken: bool
    requests: float
    tokens: float
    streams: int


class RateStore(Protocol):
    """Holds what tenants have used of their rates, for all processes. Only one method runs at a time."""

    @property
    def lease(self) -> float:
        """Return the seconds for which the streams of a process count that does not renew them."""
        ...

    async def take(self, steps: Sequence[RateStep]) -> list[RateDecision]:
        """Decide on steps, those of one tenant in their order. Raises StoreError: it is unknown what is counted."""
        ...

    async def renew(self, streams: Mapping[str, int]) -> None:
        """Let the streams of this process count for another while: these by tenant, no others. Raises StoreError."""
        ...

    async def aclose(self) -> None:
        """Close the connection."""
        ...
