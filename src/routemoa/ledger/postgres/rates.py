"""Rates that all processes of a database share: one statement for all the decisions that a process has queued.

The function `take_rates` decides: it locks a tenant's row, fills its buckets by the database's clock, and counts what
fits. Each statement takes the tenants in one order, so that two processes wait for one another and do not deadlock.
Streams belong to the process that serves them: they count until its lease ends, which it renews.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Mapping, Sequence
from os import getpid
from typing import Any

from routemoa.ledger.location import StoreUrl
from routemoa.ledger.postgres.batch import columns
from routemoa.ledger.postgres.opening import LastingConnection
from routemoa.ledger.rates import RATE_LEASE_SECONDS, RateDecision, RateStep
from routemoa.ledger.worker import Worker

__all__ = ["PostgresRates"]

TAKE = (
    "SELECT t.* FROM unnest(%s::text[], %s::float8[], %s::float8[], %s::bigint[], %s::float8[], %s::float8[], "
    "%s::bigint[], %s::boolean[], %s::float8[], %s::float8[]) WITH ORDINALITY "
    "AS u (tenant, rpm, tpm, most, requests, tokens, streams, forced, least_r, least_t, place), "
    "LATERAL take_rates(u.tenant, %s, %s, u.rpm, u.tpm, u.most, u.requests, u.tokens, u.streams, u.forced, "
    "u.least_r, u.least_t) t ORDER BY u.place"
)
RENEW = (
    "INSERT INTO rate_streams SELECT t, %s, s, clock_timestamp() + %s * interval '1 second' "
    "FROM unnest(%s::text[], %s::bigint[]) AS u (t, s) "
    "ON CONFLICT (tenant, owner) DO UPDATE SET streams = excluded.streams, expires = excluded.expires"
)
FORGET_OWN = "DELETE FROM rate_streams WHERE owner = %s AND tenant <> ALL(%s)"
FORGET_DEAD = (
    "DELETE FROM rate_streams WHERE (tenant, owner) IN (SELECT tenant, owner FROM rate_streams "
    "WHERE expires < clock_timestamp() - interval '1 hour' ORDER BY tenant, owner FOR UPDATE SKIP LOCKED)"
)


class PostgresRates:
    """A `RateStore`. It connects when it is used, and again after an error.

    Args:
        url: of the database.
        lease: seconds for which the streams of a process count that has not renewed it.
    """

    def __init__(self, url: StoreUrl, lease: float = RATE_LEASE_SECONDS) -> None:
        self.lease = lease
        self._connection = LastingConnection(url)
        self._owner = f"{socket.gethostname()[:64]}-{getpid()}-{secrets.token_hex(4)}"
        self._worker = Worker("rates")

    async def take(self, steps: Sequence[RateStep]) -> list[RateDecision]:
        """Decide on steps, those of one tenant in their order; all or none are counted. Raises StoreError."""
        return await self._worker.run(self._take, steps) if steps else []

    async def renew(self, streams: Mapping[str, int]) -> None:
        """Let the streams of this process count for another while: these by tenant, no others. Raises StoreError."""
        await self._worker.run(self._renew, dict(streams))

    async def aclose(self) -> None:
        """Drop the connection."""
        await self._worker.run(self._connection.close)
        self._worker.close()

    # --- in the thread

    def _take(self, steps: Sequence[RateStep]) -> list[RateDecision]:
        places = sorted(range(len(steps)), key=lambda i: steps[i].tenant.name)
        rows = self._connection.execute(TAKE, (*columns([_to_row(steps[i]) for i in places]), self._owner, self.lease))
        decisions = {place: RateDecision(*row) for place, row in zip(places, rows, strict=True)}
        return [decisions[i] for i in range(len(steps))]

    def _renew(self, streams: Mapping[str, int]) -> None:
        self._connection.execute(RENEW, (self._owner, self.lease, list(streams), list(streams.values())))
        self._connection.execute(FORGET_OWN, (self._owner, list(streams)))
        self._connection.execute(FORGET_DEAD)


def _to_row(step: RateStep) -> tuple[Any, ...]:
    tenant = step.tenant
    limits = (tenant.requests_per_minute, tenant.tokens_per_minute, tenant.concurrent_streams)
    counted = (float(step.requests), float(step.tokens), step.streams, step.is_forced)
    return (tenant.name, *limits, *counted, float(step.least_requests), float(step.least_tokens))
