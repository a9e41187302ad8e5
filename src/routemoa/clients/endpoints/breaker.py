"""A circuit breaker for each member: opens after failures, cools down, and lets one call try again. Pure.

    closed     calls are made; THRESHOLD failures in a row open it (more while many calls wait), some failures at once
    open       calls are skipped until the cool-down is over: the endpoint's Retry-After, or a growing time with jitter
    half-open  one call tries the endpoint: its success closes the breaker, its failure opens it for longer

A fault of the request itself (400, 413, 422) says nothing about the endpoint and changes nothing. All times are seconds
on one monotonic clock.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from routemoa.clients.faults import Fault

__all__ = ["THRESHOLD", "Breaker", "Phase", "acquire", "force", "on_failure", "on_success", "phase", "release"]

Phase = Literal["closed", "open", "half-open"]

THRESHOLD = 3
"""Failures in a row that open a breaker."""
WAITING_SHARE = 0.5
"""Of the calls that wait for their first token: as many failures in a row are needed at least. Where a hundred calls
are under way, three that fail first say little: failures come at once, answers take their time."""
BASE = {False: 5.0, True: 15.0}
"""Whether the fault is permanent -> seconds of the first cool-down; each further one is twice as long."""
CAP = 300.0
"""Seconds of a cool-down at most, where the endpoint gave no time itself."""
RETRY_AFTER_CAP = 3600.0
"""Seconds of a Retry-After that are believed: after that the endpoint is tried again."""
JITTER = 0.2
"""Share by which a cool-down varies up and down, so that processes do not return as one."""
PROBE_SECONDS = 600.0
"""After so long a probe whose end was never seen no longer keeps others from trying."""
FORCE_INTERVAL = 1.0
"""Seconds between two calls to a member that cools down, where no other is left."""


class Breaker(Struct, frozen=True):
    """What is remembered of one member's health."""

    failures: int = 0
    """In a row."""
    openings: int = 0
    """Since its last success."""
    opened: float | None = None
    """When it opened; None while it is closed."""
    until: float = 0.0
    """When its cool-down ends."""
    told: bool = False
    """Whether the endpoint itself said so."""
    fault: Fault | None = None
    """The last failure."""
    probe: float | None = None
    """When the call began that tries the endpoint again; None where none does."""
    forced: float | None = None
    """When it was last called in spite of its cool-down."""

    def wait(self, now: float) -> float:
        """Return the seconds until a call may be made; 0 where one may be made now."""
        return 0.0 if self.opened is None else max(0.0, self.until - now)


def phase(breaker: Breaker, now: float) -> Phase:
    """Return the phase that the breaker is in."""
    if breaker.opened is None:
        return "closed"
    return "open" if now < breaker.until else "half-open"


def is_probed(breaker: Breaker, now: float) -> bool:
    """Return whether a call is under way that tries the endpoint again."""
    return breaker.probe is not None and now - breaker.probe < PROBE_SECONDS


def acquire(breaker: Breaker, now: float) -> Breaker | None:
    """Return the breaker with a call begun; None where the call is not to be made."""
    match phase(breaker, now):
        case "closed":
            return breaker
        case "half-open" if not is_probed(breaker, now):
            return replace(breaker, probe=now)
    return None


def force(breaker: Breaker, now: float) -> Breaker | None:
    """Return the breaker with a call begun though it cools down, where no other member is left; None where not even so.

    An endpoint that said itself when to return is believed, and no endpoint is called so more than once a second.
    """
    if (begun := acquire(breaker, now)) is not None:
        return begun
    recent = breaker.forced is not None and now - breaker.forced < FORCE_INTERVAL
    if (breaker.told and now < breaker.until) or recent or is_probed(breaker, now):
        return None
    return replace(breaker, probe=now, forced=now)


def release(breaker: Breaker, began: float) -> Breaker:
    """Return the breaker after the end of a probe that proved nothing: another call may try."""
    return replace(breaker, probe=None) if breaker.probe == began else breaker


def on_success(breaker: Breaker, began: float) -> Breaker:
    """Return the breaker after the beginning of an answer to a call that began at `began`.

    An answer to a call from before the breaker opened is late news.
    """
    return breaker if breaker.opened is not None and began < breaker.opened else Breaker()


def on_failure(breaker: Breaker, fault: Fault, began: float, now: float, share: float, *, waiting: int = 0) -> Breaker:
    """Return the breaker after a failure.

    Args:
        breaker: of the member.
        fault: what the failure says of its endpoint.
        began: when the call began, in seconds.
        now: in seconds.
        share: the jitter, in [0, 1].
        waiting: the member's calls that still wait for their first token.
    """
    if breaker.opened is not None and began < breaker.opened:  # one of the calls whose failures opened it
        told_until = now + min(fault.retry_after or 0.0, RETRY_AFTER_CAP)
        return replace(breaker, until=told_until, told=True, fault=fault) if told_until > breaker.until else breaker
    failures = breaker.failures + 1
    enough = failures >= max(THRESHOLD, WAITING_SHARE * waiting)
    if not (fault.opens_at_once or enough or breaker.opened is not None):
        return replace(breaker, failures=failures, fault=fault)
    again = breaker.opened is not None and breaker.probe is None  # the call that opened it, repeated
    openings = breaker.openings + (not again)
    told = min(fault.retry_after or 0.0, RETRY_AFTER_CAP)
    grown = 0.0 if told and fault.is_limit else _cool_down(fault, openings, share)
    return Breaker(failures, openings, now, now + max(told, grown), told > grown, fault, forced=breaker.forced)


def _cool_down(fault: Fault, openings: int, share: float) -> float:
    """Return the seconds of the cool-down that follows the `openings`-th opening in a row."""
    base = max(BASE[fault.permanent], fault.wasted)
    grown = min(CAP, base * 2.0 ** min(openings - 1, 20))
    return grown * (1.0 + JITTER * (2.0 * share - 1.0))
