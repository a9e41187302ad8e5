"""Rates in a table that processes share: the rule is that of one process, and the dead hold nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from routemoa.core.access.tenants import Tenant
from routemoa.gateway.access.rates import MemoryRates, RateState
from routemoa.gateway.workers.shared_rates import SharedRates, end_streams


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_two_keep_one_rate_as_one_process_keeps_it(tmp_path: Path) -> None:
    clock, tenant = Clock(), Tenant("t", "", requests_per_minute=6, tokens_per_minute=100, concurrent_streams=2)
    both = [SharedRates(tmp_path / "rates", number, clock) for number in (1, 2)]
    alone = MemoryRates(clock)
    steps = [(5, True), (5, True), (5, True), (40, False), (60, False), (40, False), (1, False), (200, False)]
    for i, (tokens, stream) in enumerate(steps * 4):
        clock.now += 3.0 * (i % 3)
        shared = await both[i % 2].reserve(tenant, tokens, stream=stream)
        assert shared == await alone.reserve(tenant, tokens, stream=stream)
        if shared is None:
            more, ends = i - 8, stream and i % 3 == 0
            await both[i % 2].settle(tenant, more, stream=ends)
            await alone.settle(tenant, more, stream=ends)
        assert await both[(i + 1) % 2].look(tenant) == await alone.look(tenant)
    for rates in both:
        rates.close()


async def test_the_streams_of_a_dead_worker_come_back_and_those_of_others_stay(tmp_path: Path) -> None:
    path, tenant = tmp_path / "rates", Tenant("t", "", concurrent_streams=3)
    both = [SharedRates(path, number) for number in (1, 2)]
    for number, rates in enumerate(both, 1):
        for _ in range(number):
            assert await rates.reserve(tenant, 0, stream=True) is None
    assert await both[0].reserve(tenant, 0, stream=True) is not None
    await end_streams(path, 2)
    assert (await both[0].look(tenant)).streams == 1
    await both[1].settle(tenant, 0, stream=True)
    assert (await both[0].look(tenant)).streams == 1, "an end that comes too late takes off nothing of others"
    for rates in both:
        rates.close()


async def test_a_minute_later_a_tenant_is_forgotten_unless_it_has_streams(tmp_path: Path) -> None:
    clock, rated = Clock(), Tenant("t", "", requests_per_minute=6)
    rates = SharedRates(tmp_path / "rates", 1, clock)
    streaming = Tenant("s", "", requests_per_minute=6, concurrent_streams=3)
    await rates.reserve(rated, 0, stream=False)
    await rates.reserve(streaming, 0, stream=True)
    clock.now += 3600.0
    assert await rates.look(rated) == RateState(0.0 + clock.now)
    assert (await rates.look(streaming)).streams == 1
    rates.close()


def test_processes_count_each_request_once(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys; from pathlib import Path; from routemoa.core.access.tenants import Tenant\n"
        "from routemoa.gateway.workers.shared_rates import SharedRates\n"
        "async def main():\n"
        "    rates = SharedRates(Path(sys.argv[1]), int(sys.argv[2]), lambda: 1.0)\n"
        "    tenant = Tenant('t', '', requests_per_minute=2000)\n"
        "    print(sum([await rates.reserve(tenant, 0, stream=False) is None for _ in range(1500)]))\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "rates")]
    running = [subprocess.Popen([*command, number], stdout=subprocess.PIPE, text=True) for number in "12"]
    assert sum(int(process.communicate(timeout=60)[0]) for process in running) == 2000
