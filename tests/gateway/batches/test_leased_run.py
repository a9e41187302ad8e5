"""Workers share one budget through the keeper: none waits for ever, and all together never pass the limit."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from routemoa.core.errors import BudgetExceeded
from routemoa.core.types import Message, ModelSpec, Request
from routemoa.gateway.batches.journal import CallEnd
from routemoa.gateway.batches.ray_engine import leased_run
from routemoa.gateway.batches.ray_engine.keeper import CallNote, Keeper
from routemoa.gateway.batches.ray_engine.leased_run import Grant, LeasedRun
from routemoa.gateway.batches.row_request import RowRules
from routemoa.gateway.batches.run_job import JobOptions
from routemoa.testing import ScriptedClient

MODEL = ModelSpec("a", "http://a", input_price=0.0, output_price=10_000.0, parameters={"max_tokens": 100})
"""A call costs a dollar at most."""
REQUEST = Request((Message("user", "2 + 2?"),))


class Worker:
    """Makes calls that cost 0.6 dollars each, until the budget allows no more."""

    def __init__(self, keeper: Keeper, name: str) -> None:
        self._keeper, self._name, self.calls = keeper, name, 0
        self._run = LeasedRun(ScriptedClient({}), self._lease)

    async def _lease(self, needed: float, returned: float) -> Grant:
        return await self._keeper.lease(self._name, needed, returned)

    async def work(self) -> None:
        with pytest.raises(BudgetExceeded, match=r"of \$20 are left, and a call of a \(\$1 at most\)"):
            await self._spend()

    async def _spend(self) -> None:
        while True:
            held = await self._run.reserve(MODEL, REQUEST)
            self.calls += 1
            number = self.calls
            await self._tell(CallNote(number, 0, held.max_cost))
            await asyncio.sleep(0)
            self._run.settle(held, 0.6, 60)
            await self._tell(CallNote(number, 0, None, CallEnd(0, 0.6, 0.6)))

    async def _tell(self, note: CallNote) -> None:
        await self._keeper.record(self._name, msgspec.json.encode([note]))


async def test_workers_that_each_keep_a_part_of_a_call_do_not_wait_for_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leased_run, "WAIT", 0.001)
    keeper = Keeper(str(tmp_path), b"", JobOptions(RowRules(()), 2, max_cost=20.0))
    workers = [Worker(keeper, name) for name in ("x", "y", "z")]
    async with asyncio.timeout(5):
        await asyncio.gather(*(w.work() for w in workers for _ in range(2)))
    calls = sum(w.calls for w in workers)
    assert calls == 32  # 0.8 dollars are left, and a call may cost one
    assert (await keeper.close()).most == pytest.approx(0.6 * calls)


async def test_dollars_that_are_granted_to_a_call_that_is_cancelled_are_not_lost(tmp_path: Path) -> None:
    keeper = Keeper(str(tmp_path), b"", JobOptions(RowRules(()), 2, max_cost=1.5))
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def lease(needed: float, returned: float) -> Grant:
        grant = await keeper.lease("x", needed, returned)
        asked.set()
        await go_on.wait()
        return grant

    run = LeasedRun(ScriptedClient({}), lease)
    reserving = asyncio.create_task(run.reserve(MODEL, REQUEST))
    await asked.wait()
    reserving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reserving
    go_on.set()
    async with asyncio.timeout(5):
        assert (await run.reserve(MODEL, REQUEST)).max_cost == pytest.approx(1.0)
    await keeper.close()
