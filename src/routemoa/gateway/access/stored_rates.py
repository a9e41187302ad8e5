"""Rates that several gateways share through a store. While the store is away each gateway keeps them for itself."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.access.tenants import Tenant
from routemoa.gateway.access.rates import STREAM_WAIT, RateRefusal, RateState, drain_rates, find_rate_refusal
from routemoa.ledger import StoreError
from routemoa.ledger.rates import RateDecision, RateStep, RateStore

__all__ = ["StoredRates"]

logger = logging.getLogger("routemoa.gateway")

PATIENCE = 3.0
"""Seconds that a request waits for the store; then this process decides alone."""
TICK_SECONDS = 1.0
"""Between two attempts while the store is away."""
LOOK_SECONDS = 1.0
"""For which the state that was last seen says what is left, in the headers and before a body is read."""
MAX_STEPS = 500
"""Of one exchange with the store."""
RENEWALS = 4
"""In the time of a lease."""


class _Waiting(Struct, eq=False):
    """A step that is queued, and what waits for the decision; that gets None where the process must decide alone."""

    step: RateStep
    future: asyncio.Future[RateDecision | None] | None = None


class StoredRates:
    """A `RateKeeper` for one of several gateways; `watch` must run.

    Args:
        store: decides for all of them.
    """

    def __init__(self, store: RateStore) -> None:
        self.is_cut_off = False
        self._store = store
        self._known: dict[str, RateState] = {}  # as last seen in the store, or counted here since
        self._streams: Counter[str] = Counter()  # that this process serves, by tenant
        self._alone: dict[str, Tenant] = {}  # for which this process has decided since the store is away
        self._queue: list[_Waiting] = []
        self._wake = asyncio.Event()
        self._renewed = monotonic()
        self._is_unsure = False  # whether the store counts other streams of this process than there are

    async def look(self, tenant: Tenant) -> RateState:
        """Return the state of this moment, as it was seen within the last second."""
        known = self._known.get(tenant.name)
        if not self.is_cut_off and (known is None or monotonic() - known.at > LOOK_SECONDS):
            await self._decide(RateStep(tenant))
        return self._now(tenant)

    async def reserve(self, tenant: Tenant, tokens: int, *, stream: bool) -> RateRefusal | None:
        """Count one request with so many tokens, where it fits; else return why not, and count nothing."""
        if tenant.tokens_per_minute is not None and tokens > tenant.tokens_per_minute:
            return find_rate_refusal(RateState(), tenant, tokens, stream=False)
        decision = await self._decide(RateStep(tenant, 1, tokens, int(stream), is_forced=False))
        if decision is None:
            return self._reserve_alone(tenant, tokens, stream=stream)
        if decision.is_taken:
            return None
        refusal = find_rate_refusal(self._known[tenant.name], tenant, tokens, stream=stream)
        return refusal or RateRefusal("the limit is reached: try again in 1s", STREAM_WAIT)

    async def settle(self, tenant: Tenant, tokens: int, *, stream: bool) -> None:
        """Correct the tokens of a request that was counted, by a difference; `stream`: its stream has ended.

        The store hears of it soon; nothing waits for that.
        """
        if tokens or stream:
            self._count(tenant, tokens=tokens)
            if self.is_cut_off:
                self._add_streams(tenant, -stream)
            else:
                self._put(_Waiting(RateStep(tenant, tokens=tokens, streams=-stream)))

    # --- beside the requests

    async def watch(self) -> None:
        """Exchange what is queued with the store, renew the lease, and look whether a store that was away is back."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self._work()
            except StoreError as e:
                self._cut_off(str(e))

    async def aclose(self) -> None:
        """Give the streams of this process back, and close the store; one that does not answer is not waited for."""
        with suppress(StoreError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                if not self.is_cut_off:
                    await self._exchange()
                    await self._store.renew({})
                await self._store.aclose()

    async def _work(self) -> None:
        """Do what is due. Raises StoreError."""
        if self.is_cut_off:
            await self._return()
        elif self._is_unsure or (self._known and monotonic() - self._renewed > self._store.lease / RENEWALS):
            await self._renew()
        await self._exchange()

    async def _exchange(self) -> None:
        """Let the store decide on what is queued. Raises StoreError, once those that wait know."""
        while self._queue:
            taken, self._queue = self._queue[:MAX_STEPS], self._queue[MAX_STEPS:]
            try:
                decisions = await self._store.take([w.step for w in taken])
            except BaseException:
                self._is_unsure = True
                self._let_go(taken)
                raise
            for waiting, decision in zip(taken, decisions, strict=True):
                self._apply(waiting, decision)

    def _apply(self, waiting: _Waiting, decision: RateDecision) -> None:
        tenant, future = waiting.step.tenant, waiting.future
        self._known[tenant.name] = RateState(monotonic(), decision.requests, decision.tokens, decision.streams)
        if future is not None and future.done():  # the request has ended, or was decided on here
            self._is_unsure = True
            return
        if decision.is_taken:
            self._add_streams(tenant, waiting.step.streams)
        if future is not None:
            future.set_result(decision)

    async def _renew(self) -> None:
        """Say which streams there are. Raises StoreError."""
        self._is_unsure, self._renewed = False, monotonic()
        await self._store.renew(self._streams)

    async def _return(self) -> None:
        """Try to share again: of what was counted here and there meanwhile, the higher counts. Raises StoreError."""
        await self._renew()
        states = [(tenant, self._now(tenant)) for tenant in self._alone.values()]
        steps = [RateStep(t, least_requests=state.requests, least_tokens=state.tokens) for t, state in states]
        for step, decision in zip(steps, await self._store.take(steps), strict=True):
            self._apply(_Waiting(step), decision)
        self._alone.clear()
        self.is_cut_off, self._is_unsure = False, True  # streams may have begun meanwhile
        logger.warning("rates are shared again")

    def _cut_off(self, why: str) -> None:
        """Decide alone from here on."""
        if not self.is_cut_off:
            self.is_cut_off = True
            logger.warning("each server keeps the rates for itself until the store answers: %s", why)
        queue, self._queue = self._queue, []
        self._let_go(queue)

    def _let_go(self, queue: Sequence[_Waiting]) -> None:
        """Let those that wait decide alone, and count the streams that have ended."""
        for waiting in queue:
            if waiting.future is None:
                self._add_streams(waiting.step.tenant, waiting.step.streams)
            elif not waiting.future.done():
                waiting.future.set_result(None)

    # --- counting

    async def _decide(self, step: RateStep) -> RateDecision | None:
        """Return the store's decision; None where this process must decide alone."""
        if self.is_cut_off:
            return None
        loop = asyncio.get_running_loop()
        future: asyncio.Future[RateDecision | None] = loop.create_future()
        timer = loop.call_later(PATIENCE, self._give_up, future)
        self._put(_Waiting(step, future))
        try:
            return await future
        finally:
            timer.cancel()

    def _put(self, waiting: _Waiting) -> None:
        self._queue.append(waiting)
        self._wake.set()

    def _give_up(self, future: asyncio.Future[RateDecision | None]) -> None:
        if not future.done():
            future.set_result(None)
            self._cut_off(f"it has not answered for {PATIENCE:g} s")

    def _reserve_alone(self, tenant: Tenant, tokens: int, *, stream: bool) -> RateRefusal | None:
        refusal = find_rate_refusal(self._now(tenant), tenant, tokens, stream=stream)
        if refusal is None:
            self._count(tenant, 1, tokens)
            self._add_streams(tenant, int(stream))
        return refusal

    def _count(self, tenant: Tenant, requests: int = 0, tokens: int = 0) -> None:
        """Count in what is known here."""
        state = self._now(tenant)
        self._known[tenant.name] = replace(
            state, requests=state.requests + requests, tokens=max(0.0, state.tokens + tokens)
        )
        if self.is_cut_off:
            self._alone[tenant.name] = tenant

    def _add_streams(self, tenant: Tenant, streams: int) -> None:
        if streams:
            self._streams[tenant.name] += streams
            if self._streams[tenant.name] <= 0:
                del self._streams[tenant.name]

    def _now(self, tenant: Tenant) -> RateState:
        """Return what is known as of now; alone, the streams are those of this process."""
        now = monotonic()
        state = drain_rates(self._known.get(tenant.name, RateState(now)), tenant, now)
        return replace(state, streams=self._streams[tenant.name]) if self.is_cut_off else state
