"""Runs a group of calls concurrently: hedges slow ones, replaces failed ones, stops when the answers suffice.

It knows nothing of what the calls ask for: a coroutine makes each call and returns how it ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from time import perf_counter
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.types import ModelSpec, Purpose
from routemoa.mixture.calls.call_guard import CallGuard, OpenGuard, Ticket
from routemoa.mixture.calls.pending_call import CallEnd, PendingCall

__all__ = ["WAIT_FOR_ALL", "CallGroup", "WaitPolicy"]


SECOND_ENDPOINT_SHARE = 2.0
"""Of the time after which a member is hedged at its second endpoint: then another member is called as well."""


class WaitPolicy(Struct, frozen=True):
    """How long a group is waited for."""

    seconds: float | None = None
    """The group's time; None is no limit."""
    hedge_after: Mapping[str, float] = {}
    """Model -> seconds without a first token after which the reserve's next model is called as well."""
    is_sufficient: Callable[[], bool] | None = None
    """Checked when a call has ended while others run; true cancels those."""
    give_up_after: Mapping[str, float] = {}
    """Model -> seconds without a first token after which its call is cancelled, once another call was answered."""
    until_first_token: bool = False
    """Whether `seconds` end with the first token of any call: its text is with the caller, so it is waited for."""


WAIT_FOR_ALL = WaitPolicy()


class CallGroup:
    """Calls that answer the same question at the same time.

    Args:
        make_call: makes one call and returns how it ended; cancelled by us, it says so and ends as FAILED.
        reserve: the models that replace failed calls and hedge slow ones, best first.
        policy: how long to wait.
        guard: says which models may be called; a model that may not is passed over for the next of the reserve.
    """

    def __init__(
        self,
        make_call: Callable[[PendingCall], Coroutine[Any, Any, CallEnd]],
        reserve: Sequence[ModelSpec],
        policy: WaitPolicy = WAIT_FOR_ALL,
        guard: CallGuard = OpenGuard(),  # noqa: B008  (without state)
    ) -> None:
        self.guard = guard
        self._make_call = make_call
        self._reserve = list(reserve)
        self._policy = policy
        self._calls: list[PendingCall] = []
        self._running: list[PendingCall] = []
        self._ended: asyncio.Queue[PendingCall] = asyncio.Queue()
        self._leader: ModelSpec | None = None
        self._held: list[ModelSpec] = []  # called once the leader has begun
        self._declined: list[ModelSpec] = []  # as hedges
        self._last_resort: list[ModelSpec] = []  # cool down, or were cancelled for a faster one
        self._time_over = None if policy.seconds is None else perf_counter() + policy.seconds
        self._stopped = False

    async def run(self, selected: Sequence[ModelSpec], leader: ModelSpec | None = None) -> None:
        """Call all of `selected` and run until every call has ended; leaving early cancels what runs.

        With a `leader` the other local models begin once its first token has come: they share its processors.
        """
        self._leader = leader
        self._held = [m for m in selected if leader is not None and m.local and m is not leader]
        try:
            self._start_first([spec for spec in selected if spec not in self._held])
            while self._running or self._held:
                await self._step()
        finally:
            tasks = [call.task for call in self._calls if call.task is not None]
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        for call, end in zip(self._calls, ends, strict=True):
            never_ran = call.cancel_reason is not None and isinstance(end, asyncio.CancelledError)
            if isinstance(end, BaseException) and not never_ran:
                raise end  # a defect of ours: calls end with a CallEnd

    def on_begin(self, call: PendingCall) -> None:
        """Start the models that wait for the leader, once it has begun."""
        if call.began and self._policy.until_first_token:
            self._time_over = None
        if call.spec is self._leader:
            held, self._held = self._held, []
            for spec in held:
                self._fill(spec)

    def on_give_up(self, call: PendingCall, seconds: float) -> None:
        """Tell the guard that a call was cancelled since nothing had come for so long."""
        self.guard.report_slow(call.spec, seconds)
        self._last_resort.append(call.spec)

    def is_last_hope(self, call: PendingCall) -> bool:
        """Return whether no other call can answer in place of this one."""
        others = any(c is not call for c in self._running) or bool(self._held)
        return not (others or self._is_answered or any(map(self.guard.is_ready, self._reserve)))

    def hedge_after(self, spec: ModelSpec) -> float | None:
        """Return the seconds after which a member is called at a second endpoint, if it has one."""
        return self._policy.hedge_after.get(spec.name) if len(spec.endpoints) > 1 else None

    def _start_first(self, specs: Sequence[ModelSpec]) -> None:
        """Call models, or those of the reserve in their place; the least bad one where none is ready."""
        candidates = [*specs, *self._held, *self._reserve]
        if candidates and not any(map(self.guard.is_ready, candidates)):
            self._held.clear()
            self._reserve.clear()
            if (forced := self.guard.force(candidates)) is not None:
                self._start(*forced, "proposal")
            return
        for spec in specs:
            self._fill(spec)
        if all(call.spec is not self._leader for call in self._running):  # nothing to wait for
            held, self._held = self._held, []
            for spec in held:
                self._fill(spec)

    def _fill(self, spec: ModelSpec | None = None) -> None:
        """Call a model, or else the first of the reserve that may be called."""
        while spec is not None or self._reserve:
            spec = self._reserve.pop(0) if spec is None else spec
            if (ticket := self.guard.admit(spec)) is not None:
                self._start(spec, ticket, "proposal")
                return
            self._last_resort.append(spec)
            spec = None

    def _start(self, spec: ModelSpec, ticket: Ticket, purpose: Purpose, rival: PendingCall | None = None) -> None:
        call = PendingCall(self, spec, purpose, ticket, rival)
        if rival is not None:
            rival.rival = call
        self._calls.append(call)
        self._running.append(call)
        call.task = asyncio.create_task(self._make_call(call))
        call.task.add_done_callback(lambda _: self._note_end(call))

    def _note_end(self, call: PendingCall) -> None:
        call.ticket.close()
        self._ended.put_nowait(call)

    async def _step(self) -> None:
        """Wait for the next end of a call or the next moment at which something is due, and act on it."""
        due = self._next_due()
        wait = None if due is None else due - perf_counter()
        if wait is not None and wait <= 0.0:
            self._on_time()
            return
        try:
            async with asyncio.timeout(wait):
                call = await self._ended.get()
        except TimeoutError:
            self._on_time()
        else:
            self._on_end(call)

    def _on_end(self, call: PendingCall) -> None:
        self._running.remove(call)
        self.on_begin(call)
        if call.cancel_reason is None:
            self._fill_place(call)
            is_sufficient = self._policy.is_sufficient
            if self._running and is_sufficient is not None and is_sufficient():
                self._cancel_all("not waited for: the answers heard suffice")

    def _fill_place(self, call: PendingCall) -> None:
        """Call the next model of the reserve in place of a failed call, unless the other of its pair goes on."""
        if call.end is CallEnd.NOT_MADE:
            self._reserve.insert(0, call.spec)
            self._declined.append(call.spec)
            call = call.rival or call
        rival = call.rival
        paired = rival is not None and rival in self._running and rival.cancel_reason is None
        failed = call not in self._running and call.cancel_reason is None and call.end is CallEnd.FAILED
        if failed and not paired and not self._is_over:
            self._fill()
            self._try_last_resort()

    def _try_last_resort(self) -> None:
        """Call the least bad of the models that were passed over or given up, where no call can answer any more."""
        hopes = self._held or any(c.cancel_reason is None for c in self._running) or self._is_answered
        if not hopes and self._last_resort and (forced := self.guard.force(self._last_resort)) is not None:
            self._last_resort.remove(forced[0])
            self._start(*forced, "proposal")

    def _next_due(self) -> float | None:
        """Return when something has to be done even if no call ends."""
        if self._stopped:
            return None
        times = [at for call in self._running if (at := self._hedge_at(call)) is not None]
        times += [at for call in self._running if (at := self._give_up_at(call)) is not None]
        return min(times if self._time_over is None else [*times, self._time_over], default=None)

    def _hedge_at(self, call: PendingCall) -> float | None:
        """Return when a call is slow enough to hedge; None where it is not hedged."""
        after = self._policy.hedge_after.get(call.spec.name)
        if after is None or call.began or call.rival is not None or call.spec.local or not self._reserve:
            return None
        has_own = self.hedge_after(call.spec) is not None  # its second endpoint is called first
        return call.started + (SECOND_ENDPOINT_SHARE * after if has_own else after)

    def _give_up_at(self, call: PendingCall) -> float | None:
        """Return when a call is too slow to be waited for; None while no other was answered."""
        after = self._policy.give_up_after.get(call.spec.name)
        if after is None or call.began or call.cancel_reason is not None or call.spec.local or not self._is_answered:
            return None
        return call.started + after

    def _on_time(self) -> None:
        now = perf_counter()
        if self._time_over is not None and now >= self._time_over:
            self._cancel_all(f"not waited for: the {self._policy.seconds:.1f} s of its layer were over")
            return
        for call in list(self._running):
            if (at := self._give_up_at(call)) is not None and at <= now:
                call.give_up(f"no first token for {now - call.started:.0f} s, and another model has answered")
            elif (at := self._hedge_at(call)) is not None and at <= now:
                self._hedge(call)

    def _hedge(self, call: PendingCall) -> None:
        """Call the next model of the reserve as well; hedge no more where there is none."""
        able = (m for m in self._reserve if not m.local and m not in self._declined and self.guard.is_ready(m))
        spec = next(able, None)
        ticket = None if spec is None else self.guard.admit(spec)
        if spec is None or ticket is None:
            self._policy = replace(self._policy, hedge_after={})
            return
        self._reserve.remove(spec)
        self._start(spec, ticket, "hedge", call)

    @property
    def _is_answered(self) -> bool:
        return any(call.end is CallEnd.ANSWERED for call in self._calls)

    @property
    def _is_over(self) -> bool:
        """Return whether no further model is called."""
        return self._stopped or (self._time_over is not None and perf_counter() >= self._time_over)

    def _cancel_all(self, reason: str) -> None:
        self._stopped = True
        self._held.clear()
        for call in self._running:
            call.cancel(reason)
