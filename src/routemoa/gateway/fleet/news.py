"""What servers tell one another of their members, as hints: failures, refused fields, speeds, conversations. Pure.

A member is named by a digest of its address, so that no address or name of a key is told. News of members that are not
in the pool are passed over.
"""

from __future__ import annotations

import hashlib

import msgspec
from msgspec import Struct

from routemoa.clients.endpoints.breaker import Breaker
from routemoa.clients.protocol.capability import Capability
from routemoa.clients.protocol.dialect import Dialect
from routemoa.core.content.cache_marks import CachedPrompt
from routemoa.core.types import ModelSpec
from routemoa.routing.latency import LatencySample

__all__ = [
    "ClosedBreaker",
    "Conversation",
    "Learned",
    "Measured",
    "News",
    "OpenedBreaker",
    "decode_news",
    "encode_news",
    "name_member",
    "restore_breaker",
    "tell_breaker",
]


CLOCK_SECONDS = 0.25
"""By which two servers may differ in when something was."""


class OpenedBreaker(Struct, frozen=True, tag="opened"):
    """A member is not called now."""

    member: str
    breaker: Breaker
    """Its times are seconds from when this was told."""


class ClosedBreaker(Struct, frozen=True, tag="closed"):
    """A member answers again."""

    member: str


class Learned(Struct, frozen=True, tag="learned"):
    """What a member's endpoint refuses."""

    member: str
    dialect: Dialect
    lacks: frozenset[Capability]


class Measured(Struct, frozen=True, tag="measured"):
    """How long a call of a method has taken."""

    method: str
    sample: LatencySample


class Conversation(Struct, frozen=True, tag="conversation"):
    """Which models have read a conversation; its name is a keyed hash."""

    name: bytes
    prompt: CachedPrompt


News = OpenedBreaker | ClosedBreaker | Learned | Measured | Conversation
DECODER: msgspec.json.Decoder[list[News]] = msgspec.json.Decoder(list[News])


def encode_news(news: list[News]) -> bytes:
    """Return a message; empty where there is nothing to tell."""
    return msgspec.json.encode(news) if news else b""


def decode_news(message: bytes) -> list[News]:
    """Return what a message tells; nothing where another version has written it."""
    try:
        return DECODER.decode(message)
    except (msgspec.DecodeError, ValueError):
        return []


def name_member(place: ModelSpec) -> str:
    """Return what names a member's endpoint on all servers."""
    parts = (place.endpoint, place.model or place.name, place.api_key_env or "")
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "replace"), digest_size=12).hexdigest()


def tell_breaker(place: ModelSpec, breaker: Breaker, now: float) -> News:
    """Return the news of a member's breaker."""
    if breaker.opened is None:
        return ClosedBreaker(name_member(place))
    told = Breaker(
        breaker.failures, breaker.openings, breaker.opened - now, breaker.until - now, breaker.told, breaker.fault
    )
    return OpenedBreaker(name_member(place), told)


def restore_breaker(told: Breaker, here: Breaker, age: float, now: float, answered: float) -> Breaker | None:
    """Return the breaker after the news that it has opened elsewhere; None where that changes nothing.

    Args:
        told: elsewhere, when it was told.
        here: as it is here.
        age: seconds since it was told.
        now: in seconds, as all times here.
        answered: when the member began to answer a call from here last: later than it has opened, that is the better
            evidence, since the other server's own connection may be at fault.
    """
    at = now - age
    opened, until = at + (told.opened or 0.0), at + told.until
    if until <= now or answered > opened - CLOCK_SECONDS or (here.opened is not None and here.until >= until):
        return None
    return Breaker(told.failures, told.openings, opened, until, told.told, told.fault, here.probe, here.forced)
