"""A job keeps to its rates in the long run."""

from __future__ import annotations

import pytest

from routemoa.gateway.batches.jobs.pace import Pace


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(("calls", "tokens", "seconds"), [(60, None, 300.0), (None, 1000, 1800.0), (60, 1000, 1800.0)])
async def test_rows_wait_until_their_calls_are_within_the_rates(
    calls: float | None, tokens: float | None, seconds: float
) -> None:
    clock = Clock()
    pace = Pace(calls, tokens, clock=clock, sleep=clock.sleep)
    for _ in range(100):  # three calls of a hundred tokens each
        await pace.wait()
        for _ in range(3):
            pace.count_call()
            pace.count_tokens(100)
    await pace.wait()
    assert clock.now == pytest.approx(seconds, rel=0.02)


async def test_without_rates_nothing_waits() -> None:
    clock = Clock()
    pace = Pace(clock=clock, sleep=clock.sleep)
    pace.count_call()
    pace.count_tokens(10**9)
    await pace.wait()
    assert clock.now == 0.0
