"""What holds for rates that several gateways share, whatever store they share them in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from routemoa.core.access.tenants import Tenant
from routemoa.gateway.access.rates import MemoryRates
from routemoa.gateway.access.stored_rates import StoredRates

__all__ = ["check_rule_of_one_process", "reserve_many", "until"]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def reserve_many(rates: StoredRates, tenant: Tenant, count: int, **asked: Any) -> int:
    """Return how many of so many requests at once were taken."""
    asked = {"tokens": 0, "stream": False, **asked}
    return [await r for r in [asyncio.ensure_future(rates.reserve(tenant, **asked)) for _ in range(count)]].count(None)


async def check_rule_of_one_process(both: Sequence[StoredRates], alone: MemoryRates, tolerance: float) -> float | None:
    """Two gateways take and refuse what one process does, and see as much left; return the last refusal's wait.

    Args:
        both: the gateways.
        alone: the process; its clock is the store's, or stands still.
        tolerance: in requests and tokens, for what fills while the steps run.
    """
    tenant = Tenant("t", "", requests_per_minute=6, tokens_per_minute=100, concurrent_streams=2)
    steps = [(5, True), (5, True), (5, True), (40, False), (60, False), (40, False), (1, False), (200, False)]
    for i, (tokens, stream) in enumerate(steps * 2):
        taken = await both[i % 2].reserve(tenant, tokens, stream=stream) is None
        assert taken == (await alone.reserve(tenant, tokens, stream=stream) is None)
        if taken and i > 4:
            await both[i % 2].settle(tenant, i - 8, stream=stream)
            await alone.settle(tenant, i - 8, stream=stream)
        await both[i % 2].reserve(tenant, 100, stream=False)  # waits for that, and never fits
        seen, expected = await both[i % 2].look(tenant), await alone.look(tenant)
        assert seen.streams == expected.streams
        assert (seen.requests, seen.tokens) == pytest.approx((expected.requests, expected.tokens), abs=tolerance)
    refusal = await both[0].reserve(tenant, 0, stream=False)
    assert refusal is not None
    assert "6 requests a minute" in refusal.message
    return refusal.retry_after
