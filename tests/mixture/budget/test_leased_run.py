"""Workers share one budget: none waits for ever, and all together never pass the limit."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from routemoa.core.errors import BudgetExceeded
from routemoa.core.types import Message, ModelSpec, Request
from routemoa.mixture.budget import leased_run
from routemoa.mixture.budget.leased_run import LEASE_CALLS, LEASE_SHARE, MAX_LEASE_CALLS, Grant, LeasedRun, Leases
from routemoa.testing import ScriptedClient

MODEL = ModelSpec("a", "http://a", input_price=0.0, output_price=10_000.0, parameters={"max_tokens": 100})
"""A call costs a dollar at most."""
REQUEST = Request((Message("user", "2 + 2?"),))


class Worker:
    """Makes calls that cost 0.6 dollars each, until the budget allows no more."""

    def __init__(self, leases: Leases, name: str) -> None:
        self._leases, self._name, self.calls = leases, name, 0
        self._run = LeasedRun(ScriptedClient({}), self._lease)

    async def _lease(self, needed: float, returned: float) -> Grant:
        self._leases.give_back(self._name, returned, spent=self._run.spent)
        await asyncio.sleep(0)
        return self._leases.grant(self._name, needed)

    async def work(self) -> None:
        with pytest.raises(BudgetExceeded, match=r"of \$20.00 are left, and a call of a \(\$1.00 at most\)"):
            await self._spend()
        self._leases.give_back(self._name, await self._run.give_back(), spent=self._run.spent)

    async def _spend(self) -> None:
        while True:
            held = await self._run.reserve(MODEL, REQUEST)
            self.calls += 1
            await asyncio.sleep(0)
            self._run.settle(held, 0.6, 60)


async def test_workers_that_each_keep_a_part_of_a_call_do_not_wait_for_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leased_run, "WAIT", 0.001)
    leases = Leases(20.0)
    workers = [Worker(leases, name) for name in ("x", "y", "z")]
    async with asyncio.timeout(5):
        await asyncio.gather(*(w.work() for w in workers for _ in range(2)))
    calls = sum(w.calls for w in workers)
    assert calls == 32  # 0.8 dollars are left, and a call may cost one
    assert leases.spent == pytest.approx(0.6 * calls)


async def cancel_while_asking() -> tuple[LeasedRun, asyncio.Event]:
    """Return a run whose only call was cancelled after it asked for dollars, and what lets its 1.5 dollars come."""
    leases = Leases(1.5)
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def lease(needed: float, returned: float) -> Grant:
        leases.give_back("x", returned)
        grant = leases.grant("x", needed)
        asked.set()
        await go_on.wait()
        return grant

    run = LeasedRun(ScriptedClient({}), lease)
    reserving = asyncio.create_task(run.reserve(MODEL, REQUEST))
    await asked.wait()
    reserving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reserving
    return run, go_on


async def test_the_next_call_has_the_dollars_of_one_that_is_cancelled() -> None:
    run, go_on = await cancel_while_asking()
    go_on.set()
    async with asyncio.timeout(5):
        assert (await run.reserve(MODEL, REQUEST)).max_cost == pytest.approx(1.0)


async def test_dollars_of_a_call_that_is_cancelled_are_given_back() -> None:
    run, go_on = await cancel_while_asking()
    asyncio.get_running_loop().call_soon(go_on.set)
    async with asyncio.timeout(5):
        assert await run.give_back() == pytest.approx(1.5)


async def test_a_lease_is_refilled_once_half_of_it_is_gone() -> None:
    leases, asked = Leases(100.0), list[float]()

    async def lease(needed: float, returned: float) -> Grant:
        asked.append(returned)
        return leases.grant("x", needed)

    run = LeasedRun(ScriptedClient({}), lease)
    assert not await run.refill()  # no call has needed dollars
    held = [await run.reserve(MODEL, REQUEST) for _ in range(LEASE_CALLS // 2)]
    assert not await run.refill()
    held.append(await run.reserve(MODEL, REQUEST))
    assert await run.refill()
    assert asked == [0.0, 0.0]  # nothing is given up meanwhile: calls go on
    for one in held:
        run.settle(one, 0.0, 0)
    assert await run.give_back() == pytest.approx(2 * LEASE_CALLS, rel=1e-5)


def test_the_lease_of_a_lost_worker_counts_as_spent() -> None:
    leases = Leases(LEASE_CALLS + 2.5, spent=0.5)
    grant = partial(leases.grant, needed=1.0)
    assert grant("x").dollars == LEASE_CALLS
    leases.record("x", 0.75)
    assert grant("y").dollars == pytest.approx(2.0)
    assert grant("y").dollars is None  # calls of x may cost less
    assert leases.forfeit("x") == LEASE_CALLS - 0.75
    assert leases.spent == LEASE_CALLS + 0.5
    assert leases.give_back("y", 5.0, spent=1.5) == pytest.approx(2.0)
    assert grant("y").dollars == 0.0
    assert leases.forfeit("x") == 0.0


def test_what_a_worker_says_it_has_spent_counts_once() -> None:
    leases = Leases(10.0)
    leases.grant("x", 1.0)
    for _ in range(2):
        leases.give_back("x", 0.0, spent=3.0)
    leases.record("x", 2.0)
    assert leases.spent == 3.0
    assert leases.forfeit("x") == LEASE_CALLS - 2.0  # the command has written down two dollars


def test_a_lease_is_larger_while_much_is_left() -> None:
    assert Leases(1e6).grant("x", 1.0).dollars == MAX_LEASE_CALLS
    assert Leases(1000.0).grant("x", 1.0).dollars == pytest.approx(LEASE_SHARE * 1000.0)
    assert Leases(100.0).grant("x", 1.0).dollars == LEASE_CALLS
