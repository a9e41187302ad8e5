"""One call of a group while it runs, and how it ends."""

from __future__ import annotations

import asyncio
from enum import Enum
from time import perf_counter
from typing import Protocol

from routemoa.core.types import ModelSpec, Purpose
from routemoa.mixture.calls.call_guard import Ticket

__all__ = ["CallEnd", "PendingCall"]


class CallEnd(Enum):
    """How a call of a group ended."""

    ANSWERED = "answered"
    FAILED = "failed"
    """The next model of the reserve takes its place."""
    BROKE_OFF = "broke off"
    """It failed after a part of its text was shown, which nothing may replace."""
    NOT_MADE = "not made"
    """A hedge that did not fit into what is left: nothing is missing, and its model may be called later."""


class RunningGroup(Protocol):
    """What a call tells the group that it belongs to, and asks of it."""

    def on_begin(self, call: PendingCall) -> None:
        """Note the first token of a call."""
        ...

    def on_give_up(self, call: PendingCall, seconds: float) -> None:
        """Note that a call was cancelled since nothing had come for so long."""
        ...

    def is_last_hope(self, call: PendingCall) -> bool:
        """Return whether no other call can answer in place of this one."""
        ...

    def hedge_after(self, spec: ModelSpec) -> float | None:
        """Return the seconds without a first token after which a member is called at a second endpoint as well."""
        ...


class PendingCall:
    """One call of a group while it runs."""

    def __init__(
        self, group: RunningGroup, spec: ModelSpec, purpose: Purpose, ticket: Ticket, rival: PendingCall | None = None
    ) -> None:
        self.spec = spec
        self.purpose = purpose
        self.rival = rival
        """The other call of a hedged pair."""
        self.cancel_reason: str | None = None
        """Why we cancelled the call; None where we did not."""
        self.began = False
        """Whether its first token has come."""
        self.started = perf_counter()
        self.task: asyncio.Task[CallEnd] | None = None
        self.ticket = ticket
        self._group = group

    @property
    def end(self) -> CallEnd | None:
        """Return how it ended; None while it runs, and where it was cancelled or raised."""
        task = self.task
        if task is None or not task.done() or task.cancelled() or task.exception() is not None:
            return None
        return task.result()

    @property
    def is_hedge(self) -> bool:
        """Return whether it stands in for a slow call."""
        return self.purpose == "hedge"

    @property
    def is_last_hope(self) -> bool:
        """Return whether no other call of its group can answer: none runs or was answered, and no model is left."""
        return self._group.is_last_hope(self)

    @property
    def hedge_after(self) -> float | None:
        """Return the seconds without a first token after which a second endpoint is called; None where none is."""
        return self._group.hedge_after(self.spec)

    def begin(self) -> PendingCall | None:
        """Note the first token. Of a hedged pair the call that begins first goes on: return the other, cancelled."""
        if self.began:
            return None
        self.began = True
        self._group.on_begin(self)
        rival = self.rival
        if rival is None or rival.began:
            return None
        waited = perf_counter() - rival.started
        return rival if rival.give_up(f"no first token for {waited:.2f} s: {self.spec.name} was faster") else None

    def give_up(self, reason: str) -> bool:
        """Cancel the call since its first token is late; return whether it was still running."""
        cancelled = self.cancel(reason)
        if cancelled:
            self._group.on_give_up(self, perf_counter() - self.started)
        return cancelled

    def cancel(self, reason: str) -> bool:
        """Cancel the call; return whether it was still running."""
        if self.cancel_reason is not None or self.task is None or self.task.done():
            return False
        self.cancel_reason = reason
        self.task.cancel()
        return True
