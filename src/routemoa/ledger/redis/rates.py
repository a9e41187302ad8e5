"""Rates that all processes with one Redis share: one script for all the decisions that a process has queued."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from routemoa.ledger.location import SharedUrl
from routemoa.ledger.rates import RATE_LEASE_SECONDS, RateDecision, RateStep
from routemoa.ledger.redis.connection import PREFIX, RedisConnection, new_owner

__all__ = ["RedisRates"]


class RedisRates:
    """A `RateStore`. It connects when it is used, and again after an error.

    Args:
        url: of the server.
        lease: seconds for which the streams of a process count that has not renewed it.

    Raises:
        MissingExtra: the library is not installed.
        ConfigError: the URL is none.
    """

    def __init__(self, url: SharedUrl, lease: float = RATE_LEASE_SECONDS) -> None:
        self.lease = lease
        self._redis = RedisConnection(url)
        self._owner = new_owner()
        self._served: set[str] = set()  # tenants for which the server may count streams of this process

    async def take(self, steps: Sequence[RateStep]) -> list[RateDecision]:
        """Decide on steps, in their order; all or none are counted. Raises StoreError."""
        if not steps:
            return []
        self._served |= {s.tenant.name for s in steps if s.streams > 0}
        keys = [key for s in steps for key in (_buckets(s.tenant.name), _streams(s.tenant.name))]
        data = msgspec.json.encode([_to_plain(s) for s in steps])
        decisions = await self._redis.run("rates", keys, data, self._owner, str(self.lease))
        return [RateDecision(bool(d[0]), float(d[1]), float(d[2]), int(d[3])) for d in decisions]

    async def renew(self, streams: Mapping[str, int]) -> None:
        """Let the streams of this process count for another while: these by tenant, no others. Raises StoreError."""
        names = sorted(self._served | set(streams))
        counts = [str(streams.get(name, 0)) for name in names]
        await self._redis.run("renew_streams", [_streams(n) for n in names], self._owner, str(self.lease), *counts)
        self._served = set(streams)

    async def aclose(self) -> None:
        """Drop the connection."""
        await self._redis.aclose()


def _buckets(tenant: str) -> str:
    return f"{PREFIX}rates:{tenant}"


def _streams(tenant: str) -> str:
    return f"{PREFIX}streams:{tenant}"


def _to_plain(step: RateStep) -> dict[str, Any]:
    """Return a step as the script reads it; what is not limited is left out."""
    tenant = step.tenant
    limits = (
        ("rpm", tenant.requests_per_minute),
        ("tpm", tenant.tokens_per_minute),
        ("most", tenant.concurrent_streams),
    )
    return {
        "requests": step.requests,
        "tokens": step.tokens,
        "streams": step.streams,
        "forced": step.is_forced,
        "least_requests": step.least_requests,
        "least_tokens": step.least_tokens,
        **{name: limit for name, limit in limits if limit is not None},
    }
