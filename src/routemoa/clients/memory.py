"""What a client remembers of its members: how well their endpoints are, and which fields of a request they refuse.

Shared by all queries, methods and passed-through requests of one client. Members with the same endpoint, model and key
share one memory. The rules are pure (`breaker`, `dialect`); this holds the state and the clock.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any

from msgspec import Struct

from routemoa.clients import breaker as rules
from routemoa.clients.breaker import Breaker, Phase
from routemoa.clients.dialect import Dialect
from routemoa.clients.faults import Fault, diagnose
from routemoa.core.errors import ModelError
from routemoa.core.types import ModelSpec

__all__ = ["CallTicket", "Health", "MemberMemory", "TokenWait", "memory_of"]

MemberKey = tuple[str, str, str | None]
CLOSED = Breaker()


class Health(Struct, frozen=True):
    """How well a member's endpoint is now."""

    phase: Phase
    failures: int
    """In a row."""
    retry_in: float | None
    """Seconds until it is called again; None where it may be called now."""
    fault: Fault | None
    """The last failure since its last success."""

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON; it quotes no endpoint."""
        retry_in = None if self.retry_in is None else round(self.retry_in, 1)
        return {
            "state": self.phase,
            "failures": self.failures,
            "retry_in": retry_in,
            "reason": None if self.fault is None else str(self.fault),
        }


class CallTicket:
    """The right to make one call; it must be returned."""

    def __init__(self, memory: MemberMemory, model: ModelSpec, began: float) -> None:
        self._memory, self._model, self._began = memory, model, began

    def close(self) -> None:
        """Return it: where the call was a probe and proved nothing, another call may try."""
        if (breaker := self._memory.breaker(self._model)) is not CLOSED:
            self._memory.set_breaker(self._model, rules.release(breaker, self._began))


class TokenWait:
    """One call that waits for its first token; it must be ended."""

    def __init__(self, counts: Counter[MemberKey], key: MemberKey) -> None:
        self._counts, self._key, self._is_over = counts, key, False
        counts[key] += 1

    def end(self) -> None:
        """End it: the first token has come, or the call has ended without one. A second time changes nothing."""
        if not self._is_over:
            self._is_over = True
            self._counts[self._key] -= 1
            if not self._counts[self._key]:
                del self._counts[self._key]


class MemberMemory:
    """Holds the breaker and the learned dialect of each member.

    Args:
        clock: seconds, never going back.
        jitter: a number in [0, 1] for each cool-down.
    """

    def __init__(self, clock: Callable[[], float] = monotonic, jitter: Callable[[], float] = random.random) -> None:
        self.clock = clock
        self._jitter = jitter
        self._breakers: dict[MemberKey, Breaker] = {}
        self._dialects: dict[MemberKey, Dialect] = {}
        self._waiting: Counter[MemberKey] = Counter()
        """Calls that wait for their first token."""

    def breaker(self, model: ModelSpec) -> Breaker:
        """Return a member's breaker."""
        return self._breakers.get(_key(model), CLOSED) if self._breakers else CLOSED

    def set_breaker(self, model: ModelSpec, breaker: Breaker) -> None:
        """Set a member's breaker; one that is as good as new is forgotten."""
        if breaker == CLOSED:
            self._breakers.pop(_key(model), None)
        else:
            self._breakers[_key(model)] = breaker

    def health(self, model: ModelSpec) -> Health:
        """Return how well a member's endpoint is now."""
        breaker, now = self.breaker(model), self.clock()
        phase = rules.phase(breaker, now)
        return Health(phase, breaker.failures, breaker.wait(now) if phase == "open" else None, breaker.fault)

    def skip_seconds(self, model: ModelSpec) -> float | None:
        """Return for how many seconds a member is not called; None where it may be called now."""
        if (breaker := self.breaker(model)) is CLOSED:
            return None
        now = self.clock()
        return None if rules.acquire(breaker, now) is not None else max(1.0, breaker.wait(now))

    def acquire(self, model: ModelSpec) -> CallTicket | None:
        """Return the right to call a member; None where it cools down, or another call is trying it."""
        return self._take(model, rules.acquire)

    def force(self, models: Iterable[ModelSpec]) -> tuple[ModelSpec, CallTicket] | None:
        """Return the member whose cool-down ends first, with the right to call it all the same; None where none has."""
        now = self.clock()
        for model in sorted(models, key=lambda m: self.breaker(m).wait(now)):
            if (ticket := self._take(model, rules.force)) is not None:
                return model, ticket
        return None

    def can_force(self, model: ModelSpec) -> bool:
        """Return whether `force` would return a member."""
        return rules.force(self.breaker(model), self.clock()) is not None

    def start_waiting(self, model: ModelSpec) -> TokenWait:
        """Note that a call is made, whose first token is waited for; return what is to be ended."""
        return TokenWait(self._waiting, _key(model))

    def succeed(self, model: ModelSpec, began: float) -> None:
        """Note that a call that began at `began` is being answered."""
        if (breaker := self.breaker(model)) is not CLOSED:
            self.set_breaker(model, rules.on_success(breaker, began))

    def fail(self, model: ModelSpec, error: ModelError, began: float) -> None:
        """Note that a call that began at `began` failed."""
        now = self.clock()
        if (fault := diagnose(error, now - began)) is not None:
            self.note_fault(model, fault, began)

    def note_fault(self, model: ModelSpec, fault: Fault, began: float) -> None:
        """Note a fault of the endpoint that a call met which began at `began`."""
        waiting = self._waiting[_key(model)]
        breaker = rules.on_failure(self.breaker(model), fault, began, self.clock(), self._jitter(), waiting=waiting)
        self.set_breaker(model, breaker)

    def dialect(self, model: ModelSpec) -> Dialect:
        """Return what was learned of the fields that a member's endpoint refuses."""
        return self._dialects.get(_key(model), Dialect())

    def learn(self, model: ModelSpec, dialect: Dialect) -> None:
        """Remember what a member's endpoint refuses."""
        self._dialects[_key(model)] = dialect

    def _take(self, model: ModelSpec, rule: Callable[[Breaker, float], Breaker | None]) -> CallTicket | None:
        now, breaker = self.clock(), self.breaker(model)
        begun = rule(breaker, now)
        if begun is None:
            return None
        if begun is not breaker:
            self.set_breaker(model, begun)
        return CallTicket(self, model, now)


def memory_of(client: object) -> MemberMemory | None:
    """Return what a client remembers of its members; None where it remembers nothing."""
    memory = getattr(client, "memory", None)
    return memory if isinstance(memory, MemberMemory) else None


def _key(model: ModelSpec) -> MemberKey:
    return model.endpoint, model.model or model.name, model.api_key_env
