"""What a client remembers of its members: how well their endpoints are, and which fields of a request they refuse.

Shared by all queries, methods and passed-through requests of one client. Members with the same endpoint, model and key
share one memory. Of a member with several endpoints each has its own: the member can be called while one of them can.
The rules are pure (`breaker`, `dialect`, `placement`); this holds the state and the clock.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from functools import reduce
from operator import or_
from time import monotonic
from typing import Any

from msgspec import Struct

from routemoa.clients.endpoints import breaker as rules
from routemoa.clients.endpoints.breaker import Breaker, Phase
from routemoa.clients.endpoints.memory_listener import MemoryListener
from routemoa.clients.endpoints.placement import EndpointState, choose_endpoint
from routemoa.clients.faults import Fault, diagnose
from routemoa.clients.protocol.capability import Capability
from routemoa.clients.protocol.dialect import Dialect
from routemoa.core.errors import ModelError
from routemoa.core.types import ModelSpec

__all__ = ["CallTicket", "Health", "MemberMemory", "PlacedTicket", "TokenWait", "memory_of"]

MemberKey = tuple[str, str, str | None]
CLOSED = Breaker()
NO_DIALECT = Dialect()
MAX_LEARNED = 256
"""Fields that one endpoint is known to refuse."""


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
        if not self._model.endpoints and (breaker := self._memory.breaker(self._model)) is not CLOSED:
            self._memory.set_breaker(self._model, rules.release(breaker, self._began))


class PlacedTicket:
    """The right to make one call at one of several endpoints; it must be returned."""

    def __init__(self, place: ModelSpec, ticket: CallTicket, running: Counter[MemberKey]) -> None:
        self.place = place
        """The member at that endpoint."""
        self._ticket, self._running, self._key = ticket, running, _key(place)
        running[self._key] += 1

    def close(self) -> None:
        """Return it: the call has ended."""
        self._ticket.close()
        self._running[self._key] -= 1
        if not self._running[self._key]:
            del self._running[self._key]


class TokenWait:
    """One call that waits for its first token; it must be ended."""

    def __init__(self, counts: Counter[MemberKey], key: MemberKey) -> None:
        self._counts, self._key, self._is_over = counts, key, False
        counts[key] = counts.get(key, 0) + 1

    def end(self) -> None:
        """End it: the first token has come, or the call has ended without one. A second time changes nothing."""
        if not self._is_over:
            self._is_over = True
            if left := self._counts[self._key] - 1:
                self._counts[self._key] = left
            else:
                self._counts.pop(self._key)


class MemberMemory:
    """Holds the breaker and the learned dialect of each member.

    Args:
        clock: seconds, never going back.
        jitter: a number in [0, 1] for each cool-down.
    """

    def __init__(self, clock: Callable[[], float] = monotonic, jitter: Callable[[], float] = random.random) -> None:
        self.clock = clock
        self.listener: MemoryListener | None = None
        self._jitter = jitter
        self._breakers: dict[MemberKey, Breaker] = {}
        self._dialects: dict[MemberKey, Dialect] = {}
        self._lacks: dict[MemberKey, frozenset[Capability]] = {}
        self._waiting: Counter[MemberKey] = Counter()
        """Calls that wait for their first token."""
        self._running: Counter[MemberKey] = Counter()
        """Calls under way, where a member has several endpoints."""

    def breaker(self, model: ModelSpec) -> Breaker:
        """Return a member's breaker; of several endpoints that of the one which can be called first."""
        if not self._breakers:
            return CLOSED
        if model.endpoints:
            now = self.clock()
            return min((self._breakers.get(_key(p), CLOSED) for p in model.places), key=lambda b: b.wait(now))
        return self._breakers.get(_key(model), CLOSED)

    def set_breaker(self, model: ModelSpec, breaker: Breaker) -> None:
        """Set a member's breaker; one that is as good as new is forgotten."""
        before = self.breaker(model).opened
        self.adopt_breaker(model, breaker)
        if self.listener is not None and breaker.opened != before:
            self.listener.note_breaker(model)

    def adopt_breaker(self, model: ModelSpec, breaker: Breaker) -> None:
        """Set a member's breaker as another server has told."""
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
        if model.endpoints:
            waits = [self.skip_seconds(place) for place in model.places]
            return None if None in waits else min(w for w in waits if w is not None)
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
        return any(rules.force(self.breaker(place), self.clock()) is not None for place in model.places)

    def place(self, model: ModelSpec, prefix: bytes | None, tried: Collection[str | None]) -> PlacedTicket | None:
        """Return the endpoint of a member that takes a call, with the right to make it; None where none can.

        Where all cool down, the one whose cool-down ends first takes it all the same, as `force` allows.

        Args:
            model: a member with several endpoints.
            prefix: the hash of how the prompt begins (`placement.hash_prefix`).
            tried: the names of the endpoints that this call has tried.
        """
        places = model.places
        chosen = choose_endpoint(self._endpoint_states(model, tried), prefix, self._jitter())
        if chosen is not None and (ticket := self._take(places[chosen], rules.acquire)) is not None:
            return PlacedTicket(places[chosen], ticket, self._running)
        forced = None if tried else self.force(places)
        return None if forced is None else PlacedTicket(*forced, self._running)

    def running(self, place: ModelSpec) -> int:
        """Return the calls under way at one of a member's endpoints."""
        return self._running[_key(place)]

    def _endpoint_states(self, model: ModelSpec, tried: Collection[str | None]) -> list[EndpointState]:
        return [
            EndpointState(
                id="|".join(str(part) for part in _key(place)),
                is_ready=place.place not in tried and self.skip_seconds(place) is None,
                running=self._running[_key(place)],
                weight=endpoint.weight,
                priority=endpoint.priority,
                is_far=endpoint.is_far,
            )
            for place, endpoint in zip(model.places, model.endpoints, strict=True)
        ]

    def start_waiting(self, model: ModelSpec) -> TokenWait:
        """Note that a call is made, whose first token is waited for; return what is to be ended."""
        return TokenWait(self._waiting, _key(model))

    def succeed(self, model: ModelSpec, began: float) -> None:
        """Note that a call that began at `began` is being answered."""
        if self.listener is not None:
            self.listener.note_answer(model)
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
        """Return what was learned of the fields that a member's endpoint refuses, or any of its endpoints."""
        if model.endpoints:
            return reduce(or_, map(self.dialect, model.places))
        return self._dialects.get(_key(model), NO_DIALECT) if self._dialects else NO_DIALECT

    def learn(self, model: ModelSpec, dialect: Dialect) -> None:
        """Remember what a member's endpoint refuses, up to a number of fields: callers choose their names."""
        if len(dialect.omit) + len(dialect.refused) <= MAX_LEARNED:
            self._dialects[_key(model)] = dialect
            if self.listener is not None:
                self.listener.note_learned(model)

    def learned(self, place: ModelSpec) -> tuple[Dialect, frozenset[Capability]]:
        """Return what was learned of one endpoint: its dialect, and what it cannot do."""
        return self._dialects.get(_key(place), Dialect()), self._lacks.get(_key(place), frozenset())

    def adopt_learned(self, place: ModelSpec, dialect: Dialect, lacks: frozenset[Capability]) -> None:
        """Add what another server has learned of an endpoint."""
        known = self.learned(place)
        both = known[0] | dialect
        if both and len(both.omit) + len(both.refused) <= MAX_LEARNED:
            self._dialects[_key(place)] = both
        if lacks:
            self._lacks[_key(place)] = known[1] | lacks

    def lacks(self, model: ModelSpec, capability: Capability) -> bool:
        """Return whether a member's endpoint, or any of its endpoints, has said that it cannot do something."""
        return any(capability in self._lacks.get(_key(place), ()) for place in model.places)

    def note_lack(self, model: ModelSpec, capability: Capability) -> None:
        """Remember what a member's endpoint says it cannot do."""
        self._lacks[_key(model)] = self._lacks.get(_key(model), frozenset()) | {capability}
        if self.listener is not None:
            self.listener.note_learned(model)

    def _take(self, model: ModelSpec, rule: Callable[[Breaker, float], Breaker | None]) -> CallTicket | None:
        now = self.clock()
        if model.endpoints:  # the call itself takes one of them (`place`)
            can_take = any(rule(self.breaker(place), now) is not None for place in model.places)
            return CallTicket(self, model, now) if can_take else None
        breaker = self.breaker(model)
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
