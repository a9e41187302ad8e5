"""Rates of a tenant: requests and tokens a minute, and streams at the same time.

A token bucket for each: it holds what a minute allows, and fills evenly. So a burst may take a whole minute's worth at
once, and what follows comes at the rate. The rule is pure; `MemoryRates` holds the buckets of one process, behind a
protocol that a store shared by several processes can implement.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.access.tenants import Tenant

__all__ = [
    "RATE_HEAD",
    "RATE_HEADERS",
    "MemoryRates",
    "RateKeeper",
    "RateRefusal",
    "RateState",
    "describe_rates",
    "drain_rates",
    "find_rate_refusal",
    "format_duration",
]

RATE_HEADERS = tuple(
    f"x-ratelimit-{figure}-{what}" for what in ("requests", "tokens") for figure in ("limit", "remaining", "reset")
)
"""The names of OpenAI's headers."""
RATE_HEAD = "x-ratelimit-"
MINUTE = 60.0
STREAM_WAIT = 1.0
"""Seconds after which a stream may have ended."""


class RateState(Struct, frozen=True):
    """What a tenant has used of its rates at a moment."""

    at: float = 0.0
    """Seconds, on the clock of the process."""
    requests: float = 0.0
    """Used and not yet filled again."""
    tokens: float = 0.0
    """Used and not yet filled again; more than the limit where an answer took more than was expected."""
    streams: int = 0
    """Under way."""


class RateRefusal(Struct, frozen=True):
    """Why a request has to wait."""

    message: str
    retry_after: float | None
    """Seconds; None where it never fits."""


# --- the rule


def drain_rates(state: RateState, tenant: Tenant, now: float) -> RateState:
    """Return the state at a later moment: the buckets have filled since."""
    passed = max(0.0, now - state.at)
    return RateState(
        now,
        max(0.0, state.requests - passed * (tenant.requests_per_minute or 0) / MINUTE),
        max(0.0, state.tokens - passed * (tenant.tokens_per_minute or 0) / MINUTE),
        state.streams,
    )


def find_rate_refusal(state: RateState, tenant: Tenant, tokens: int, *, stream: bool) -> RateRefusal | None:
    """Return why a request does not fit now, None where it does; of several reasons the one that lasts longest.

    Args:
        state: of this moment.
        tenant: that sends it.
        tokens: that its prompt has, by an estimate.
        stream: whether it asks for a stream.
    """
    refusals: list[tuple[float, str]] = []
    limit = tenant.requests_per_minute
    if limit is not None and (wait := _wait(state.requests, 1, limit)) > 0:
        refusals.append((wait, f"{limit:,} requests a minute"))
    limit = tenant.tokens_per_minute
    if limit is not None:
        if tokens > limit:
            message = f"the prompt has about {tokens:,} tokens, and the limit is {limit:,} a minute: send a shorter one"
            return RateRefusal(message, None)
        if (wait := _wait(state.tokens, max(1, tokens), limit)) > 0:
            about = f", and this request has about {tokens:,}" if tokens else ""  # it is not read yet
            refusals.append((wait, f"{limit:,} tokens a minute{about}"))
    limit = tenant.concurrent_streams
    if limit is not None and stream and state.streams >= limit:
        refusals.append((STREAM_WAIT, f"{limit:,} streams at the same time"))
    if not refusals:
        return None
    wait, what = max(refusals)
    return RateRefusal(f"the limit is {what}: try again in {format_duration(wait)}", wait)


def describe_rates(state: RateState, tenant: Tenant) -> dict[str, str]:
    """Return the headers that say what is left of the rates of requests and tokens at this moment."""
    headers: dict[str, str] = {}
    figures = (
        ("requests", state.requests, tenant.requests_per_minute),
        ("tokens", state.tokens, tenant.tokens_per_minute),
    )
    for name, used, limit in figures:
        if limit is not None:
            headers[f"{RATE_HEAD}limit-{name}"] = str(limit)
            headers[f"{RATE_HEAD}remaining-{name}"] = str(max(0, math.floor(limit - used + 1e-9)))
            headers[f"{RATE_HEAD}reset-{name}"] = format_duration(used / limit * MINUTE)
    return headers


def format_duration(seconds: float) -> str:
    """Format a duration as OpenAI's headers have it: 0s, 120ms, 8.64s, 6m0s, 1h2m3s; rounded up to milliseconds."""
    milliseconds = max(0, math.ceil(seconds * 1000 - 1e-6))
    if 0 < milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    if minutes or hours:
        text = f"{minutes}m{text}"
    return f"{hours}h{text}" if hours else text


def _wait(used: float, amount: int, limit: int) -> float:
    """Return the seconds until `amount` more fits under a limit of a minute."""
    return max(0.0, used + amount - limit - 1e-9) * MINUTE / limit


# --- where the buckets are


class RateKeeper(Protocol):
    """Holds what tenants have used of their rates."""

    @property
    def is_cut_off(self) -> bool:
        """Return whether what several gateways share is away, so that this one decides alone."""
        ...

    async def look(self, tenant: Tenant) -> RateState:
        """Return the state of this moment."""
        ...

    async def reserve(self, tenant: Tenant, tokens: int, *, stream: bool) -> RateRefusal | None:
        """Count one request with so many tokens, where it fits; else return why not, and count nothing."""
        ...

    async def settle(self, tenant: Tenant, tokens: int, *, stream: bool) -> None:
        """Correct the tokens of a request that was counted, by a difference; `stream`: its stream has ended."""
        ...


class MemoryRates:
    """A `RateKeeper` in the memory of this process, with one small state for each name.

    Args:
        clock: seconds.
    """

    is_cut_off = False

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._states: dict[str, RateState] = {}

    async def look(self, tenant: Tenant) -> RateState:
        """Return the state of this moment."""
        return self._now(tenant)

    async def reserve(self, tenant: Tenant, tokens: int, *, stream: bool) -> RateRefusal | None:
        """Count one request with so many tokens, where it fits; else return why not, and count nothing."""
        state = self._now(tenant)
        refusal = find_rate_refusal(state, tenant, tokens, stream=stream)
        if refusal is None:
            self._states[tenant.name] = replace(
                state,
                requests=state.requests + 1,
                tokens=state.tokens + tokens,
                streams=state.streams + stream,
            )
        return refusal

    async def settle(self, tenant: Tenant, tokens: int, *, stream: bool) -> None:
        """Correct the tokens of a request that was counted, by a difference; `stream`: its stream has ended."""
        state = self._now(tenant)
        self._states[tenant.name] = replace(
            state, tokens=max(0.0, state.tokens + tokens), streams=max(0, state.streams - stream)
        )

    def _now(self, tenant: Tenant) -> RateState:
        now = self._clock()
        state = self._states.get(tenant.name)
        return RateState(now) if state is None else drain_rates(state, tenant, now)
