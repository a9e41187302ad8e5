"""Rates that hold over all workers of a server: the buckets are in a table that the processes share."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import monotonic

from msgspec.structs import replace

from routemoa.core.access.tenants import Tenant
from routemoa.core.tables.server_table import MAX_WORKERS
from routemoa.gateway.access.rates import MINUTE, RateRefusal, RateState, drain_rates, find_rate_refusal
from routemoa.gateway.workers.shared_table import SharedTable, digest_name

__all__ = ["SharedRates", "end_streams"]

BUCKETS = struct.Struct("4dQ")
"""When they were looked at; requests and tokens, used and not yet filled again; when both are full again; and the
streams of all workers."""
STREAMS = struct.Struct("H")
"""Of one worker, one after the other, so that those of one that was killed can be taken off."""
ENTRY_BYTES = BUCKETS.size + MAX_WORKERS * STREAMS.size


class SharedRates:
    """A `RateKeeper` for one of several processes.

    Args:
        path: the file of the table.
        number: of this process, from 1; no other one that is alive has it.
        clock: seconds, the same for all processes.
    """

    is_cut_off = False

    def __init__(self, path: Path, number: int, clock: Callable[[], float] = monotonic) -> None:
        self._table = _open_table(path)
        self._own = _place(number)
        self._clock = clock

    async def look(self, tenant: Tenant) -> RateState:
        """Return the state of this moment."""
        await self._table.lock()
        try:
            return self._now(tenant, self._read(tenant))
        finally:
            self._table.unlock()

    async def reserve(self, tenant: Tenant, tokens: int, *, stream: bool) -> RateRefusal | None:
        """Count one request with so many tokens, where it fits; else return why not, and count nothing."""
        await self._table.lock()
        try:
            entry = self._read(tenant)
            state = self._now(tenant, entry)
            refusal = find_rate_refusal(state, tenant, tokens, stream=stream)
            if refusal is None:
                counted = replace(state, requests=state.requests + 1, tokens=state.tokens + tokens)
                self._write(tenant, counted, entry, int(stream))
            return refusal
        finally:
            self._table.unlock()

    async def settle(self, tenant: Tenant, tokens: int, *, stream: bool) -> None:
        """Correct the tokens of a request that was counted, by a difference; `stream`: its stream has ended."""
        await self._table.lock()
        try:
            entry = self._read(tenant)
            state = self._now(tenant, entry)
            self._write(tenant, replace(state, tokens=max(0.0, state.tokens + tokens)), entry, -int(stream))
        finally:
            self._table.unlock()

    def close(self) -> None:
        """Close the file."""
        self._table.close()

    def _read(self, tenant: Tenant) -> bytes:
        return self._table.read(digest_name(tenant.name), self._clock()) or bytes(ENTRY_BYTES)

    def _now(self, tenant: Tenant, entry: bytes) -> RateState:
        at, requests, tokens, _, streams = BUCKETS.unpack_from(entry)
        return drain_rates(RateState(at, requests, tokens, streams), tenant, self._clock())

    def _write(self, tenant: Tenant, state: RateState, entry: bytes, more: int) -> None:
        """Write a state, with so many more streams of this worker."""
        (own,) = STREAMS.unpack_from(entry, self._own)
        more = max(more, -own)
        requests, tokens = state.requests, state.tokens
        full = state.at + max(
            requests / tenant.requests_per_minute * MINUTE if tenant.requests_per_minute else 0.0,
            tokens / tenant.tokens_per_minute * MINUTE if tenant.tokens_per_minute else 0.0,
        )
        streams = state.streams + more
        written = bytearray(entry)
        BUCKETS.pack_into(written, 0, state.at, requests, tokens, full, streams)
        STREAMS.pack_into(written, self._own, own + more)
        self._table.write(digest_name(tenant.name), written, math.inf if streams else full)


async def end_streams(path: Path, number: int) -> None:
    """Take off the streams of a worker that has died."""
    own = _place(number)
    with closing(_open_table(path)) as table:
        for digest in table.digests():
            await table.lock()
            try:
                entry = table.read(digest, -math.inf)
                if entry is None or not (ended := STREAMS.unpack_from(entry, own)[0]):
                    continue
                at, requests, tokens, full, streams = BUCKETS.unpack_from(entry)
                written = bytearray(entry)
                BUCKETS.pack_into(written, 0, at, requests, tokens, full, streams - ended)
                STREAMS.pack_into(written, own, 0)
                table.write(digest, written, math.inf if streams > ended else full)
            finally:
                table.unlock()


def _open_table(path: Path) -> SharedTable:
    return SharedTable(path, ENTRY_BYTES)


def _place(number: int) -> int:
    """Return where an entry has the streams of a worker."""
    return BUCKETS.size + (number - 1) * STREAMS.size
