"""What one gateway and the store of shared budgets tell one another: who is alive, what was spent, what may be called.

What a call has cost is committed to the ledger before its reservation is given back, and what is told is the whole of
what the ledger has spent. So nothing is lost or counted twice, however often the store is away or empty.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from itertools import count

from msgspec import Struct

from routemoa.core.access.tenants import find_windows
from routemoa.core.errors import BudgetExceeded
from routemoa.ledger.budgets.budget_check import TenantBudgets, Window, WindowKey, find_refusal
from routemoa.ledger.schema import StoreError
from routemoa.ledger.sharing.budget_sharing import BudgetAnswer, BudgetRequest, BudgetStore, SharedCall, SharedWindow
from routemoa.ledger.sqlite.writer import SETTLE_DELAY, Writer
from routemoa.ledger.steps import StartedCall, to_picodollars

__all__ = ["BudgetExchange"]

LOG = logging.getLogger("routemoa.ledger")
PATIENCE = 5.0
"""Seconds for which a call under a budget waits for the store."""
TICK_SECONDS = 1.0
"""Between two exchanges at most: the lease is renewed, and what others have spent is seen."""
DEAD_SECONDS = 5.0
"""Between two looks for processes with this ledger that have died."""
RECENT_SECONDS = 300.0
"""For which a window is looked at after its last use."""
MAX_RECENT = 200
MAX_STARTED = 500
"""Calls of one exchange."""


class _Waiting(Struct, eq=False):
    call: SharedCall
    step: StartedCall
    future: asyncio.Future[None]


class BudgetExchange:
    """Exchanges with a store while `watch` runs, in the one event loop that uses this.

    Args:
        ledger: of this gateway.
        store: holds what all ledgers have spent.
        budgets: those that are kept.
        clock: returns seconds since the epoch.
    """

    def __init__(self, ledger: Writer, store: BudgetStore, budgets: TenantBudgets, clock: Callable[[], float]) -> None:
        self.used: dict[WindowKey, int] = {}
        """The picodollars spent and reserved by all, in the windows that were used lately."""
        self.error: StoreError | None = None
        """Why calls under a budget fail, while they do."""
        self._ledger, self._store, self._budgets, self._clock = ledger, store, budgets, clock
        self._is_joined, self._is_exchanging = False, False
        self._process = ""
        self._ids = count()
        self._queue: list[_Waiting] = []
        self._open: dict[int, tuple[StartedCall, SharedCall]] = {}  # taken calls, by the id() of their step
        self._ended: list[SharedCall] = []
        self._seen: dict[WindowKey, SharedWindow] = {}
        self._recent: dict[WindowKey, float] = {}
        self._wake, self._exchanged = asyncio.Event(), asyncio.Event()
        self._looked = 0.0

    @property
    def is_cut_off(self) -> bool:
        """Return whether the store is away, so that calls under a budget fail."""
        return self.error is not None

    # --- calls

    async def take(self, step: StartedCall, limits: Mapping[WindowKey, int]) -> None:
        """Reserve what a call can cost, in picodollars of each window. Raises BudgetExceeded, StoreError."""
        if self.error is not None:
            raise StoreError(str(self.error))
        loop = asyncio.get_running_loop()
        call = SharedCall(str(next(self._ids)), to_picodollars(step.max_cost), limits)
        waiting = _Waiting(call, step, loop.create_future())
        timer = loop.call_later(PATIENCE, _give_up, waiting.future)
        self._queue.append(waiting)
        self._wake.set()
        try:
            await waiting.future
        finally:
            timer.cancel()

    def end(self, step: StartedCall) -> None:
        """Give a call's reservation back once the ledger has settled it, which it is about to; never waits."""
        if (taken := self._open.pop(id(step), None)) is not None:
            self._ended.append(taken[1])
            with suppress(RuntimeError):  # without a running loop: with the next exchange
                asyncio.get_running_loop().call_later(SETTLE_DELAY, self._wake.set)

    async def settle(self) -> None:
        """Wait until the calls that have ended are counted for all; not while the store is away."""
        for _ in range(2):  # one exchange may be under way
            if not (self._ended or self._is_exchanging) or self.error is not None:
                return
            self._wake.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await self._exchanged.wait()

    def look_at(self, keys: Collection[WindowKey]) -> None:
        """See soon, and for a while, what is used of these windows."""
        self._note_recent(keys)
        self._wake.set()

    # --- beside the calls

    async def watch(self) -> None:
        """Exchange what is queued, and once a second whatever others did; for ever."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    await self._wake.wait()
            is_tick = not self._wake.is_set()
            self._wake.clear()
            try:
                await self._work(is_tick=is_tick)
            except StoreError as e:
                self._cut_off(e)
            except Exception as e:  # a defect must not end this: calls under a budget would wait for ever
                self._cut_off(StoreError(f"the shared budgets: {e!r}"))

    async def aclose(self) -> None:
        """Tell what was spent, and close the store; one that does not answer is not waited for."""
        with suppress(StoreError, TimeoutError):
            async with asyncio.timeout(TICK_SECONDS):
                if self._ended and self._is_joined:
                    await self._exchange()
        await self._store.aclose()

    async def _work(self, *, is_tick: bool) -> None:
        """Do what is due. Raises StoreError."""
        if not self._is_joined or self._ledger.identity.process != self._process:
            await self._join()
        if is_tick or not (self._queue or self._ended):
            self._forget_former()
            await self._exchange(is_tick=True)
        while self._queue or self._ended:
            wait = await self._exchange()
            if wait or not self._is_joined:
                asyncio.get_running_loop().call_later(wait, self._wake.set)
                return

    async def _join(self) -> None:
        """Say all that this ledger has spent, and which calls are under way. Raises StoreError."""
        running = tuple(call for _, call in self._open.values())
        await self._settle_ended()
        before, self._process = self._process, self._ledger.identity.process
        dead = frozenset({before} - {self._process, ""})  # its name of before, if its file was lost
        spent = self._read_spent()
        request = BudgetRequest(spent, windows=frozenset(spent), dead=dead, running=running)
        answer = await self._ask(request)
        self._apply(answer)
        await self._forget_dead(answer.processes)
        self._is_joined = True
        if self.error is not None:
            self.error = None
            LOG.warning("budgets are shared again")

    async def _forget_dead(self, processes: frozenset[str]) -> None:
        """Let the ledger settle the calls of dead processes, and the store forget them. Raises StoreError."""
        self._looked = time.monotonic()
        if processes - {self._process} and (dead := processes - self._ledger.settle_dead_processes()):
            await self._ask(BudgetRequest(self._read_spent(), dead=dead))

    async def _exchange(self, *, is_tick: bool = False) -> float:
        """Say what was spent, and have queued calls taken; return the seconds until they can be. Raises StoreError."""
        self._is_exchanging = True
        started, self._queue = self._queue[:MAX_STARTED], self._queue[MAX_STARTED:]
        try:
            ended = await self._settle_ended()
            answer = await self._ask(self._make_request(ended, [w.call for w in started], is_tick=is_tick))
        except BaseException:
            self._queue = started + self._queue
            raise
        finally:
            self._is_exchanging = False
        if not answer.is_joined or answer.wait:
            self._is_joined = answer.is_joined
            self._queue = started + self._queue
        else:
            self._apply(answer)
            for waiting, is_taken in zip(started, answer.taken, strict=True):
                self._decide(waiting, is_taken=is_taken)
        self._tell_exchanged()
        if is_tick and answer.is_joined and time.monotonic() - self._looked > DEAD_SECONDS:
            await self._forget_dead(answer.processes)
        return answer.wait

    async def _settle_ended(self) -> list[SharedCall]:
        """Return the calls that have ended, once the ledger has settled them. Raises StoreError: it cannot."""
        ended, self._ended = self._ended, []
        try:
            if ended or not self._is_joined:
                await self._ledger.commit(None)
        except BaseException:
            self._ended = ended + self._ended
            raise
        return ended

    def _make_request(
        self, ended: Collection[SharedCall], started: Collection[SharedCall], *, is_tick: bool
    ) -> BudgetRequest:
        windows = {key for call in (*ended, *started) for key in call.limits}
        self._note_recent(windows)
        if is_tick:
            windows |= set(self._recent)
        seen = {key: self._seen[key].own if key in self._seen else None for key in windows}
        spent = {key: (dollars, seen[key]) for key, dollars in self._ledger.read_spent(windows).items()}
        return BudgetRequest(spent, tuple(call.id for call in ended), tuple(started), frozenset(windows))

    def _read_spent(self) -> dict[WindowKey, tuple[int, int | None]]:
        """Return what this ledger has spent in all windows that have a budget. Raises StoreError."""
        names = self._budgets.tenants.budgeted | {limit.name for limit in self._budgets.limits("")}
        return {key: (spent, None) for key, spent in self._ledger.read_spent(None).items() if key[0] in names}

    async def _ask(self, request: BudgetRequest) -> BudgetAnswer:
        identity = self._ledger.identity
        return await self._store.exchange(self._process, identity.ledger, identity.place, request)

    def _apply(self, answer: BudgetAnswer) -> None:
        self._seen.update(answer.windows)
        self.used.update({key: window.spent + window.held for key, window in answer.windows.items()})

    def _decide(self, waiting: _Waiting, *, is_taken: bool) -> None:
        """Tell a call whether it was taken."""
        is_waited_for = not waiting.future.done()
        if is_taken and is_waited_for:
            self._open[id(waiting.step)] = waiting.step, waiting.call
            waiting.future.set_result(None)
        elif is_taken:  # the request has ended
            self._ended.append(waiting.call)
        elif is_waited_for:
            waiting.future.set_exception(self._make_refusal(waiting))

    def _make_refusal(self, waiting: _Waiting) -> BudgetExceeded:
        """Return why a call was not taken, as the totals stand."""

        def load(key: WindowKey) -> Window:
            seen = self._seen.get(key)
            return Window(0, 0) if seen is None else Window(seen.spent, seen.held)

        step = waiting.step
        what = "less is left of the budget than the next call can cost"
        refusal = find_refusal(step, self._budgets.limits(step.key), load)
        return refusal or BudgetExceeded(what, temporary=True, reset=find_windows(step.began).day_reset)

    def _cut_off(self, error: StoreError) -> None:
        """Let calls under a budget fail from here on."""
        self._is_joined = False
        if self.error is None:
            LOG.warning("%s; calls under a budget fail until it answers", error)
        self.error = error
        for waiting in self._queue:
            if not waiting.future.done():
                waiting.future.set_exception(StoreError(str(error)))
        self._queue.clear()
        self._tell_exchanged()

    def _tell_exchanged(self) -> None:
        self._exchanged.set()
        self._exchanged = asyncio.Event()

    def _note_recent(self, keys: Collection[WindowKey]) -> None:
        now = time.monotonic()
        for key in keys:
            self._recent.pop(key, None)
            self._recent[key] = now

    def _forget_former(self) -> None:
        """Look no more at windows that are not used, and forget those of former days."""
        now, today = time.monotonic(), find_windows(self._clock())
        kept = list(self._recent.items())[-MAX_RECENT:]
        self._recent = {key: at for key, at in kept if now - at < RECENT_SECONDS}
        self._seen = {key: w for key, w in self._seen.items() if key[1] in (today.day, today.month)}
        self.used = {key: n for key, n in self.used.items() if key[1] in (today.day, today.month)}


def _give_up(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_exception(StoreError(f"the shared budgets have not answered for {PATIENCE:g} s"))
