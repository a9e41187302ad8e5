"""Where a caller wants a provider to cache a prompt."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

__all__ = ["CacheControl", "CacheMark", "CachedPrompt"]


class CacheControl(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An entry for the provider's prompt cache."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None
    """How long to keep it; None is the provider's default."""


class CacheMark(Struct, frozen=True):
    """A request to cache the prompt up to a place in a message."""

    end: int
    """Characters of the message before the mark."""
    control: CacheControl


class CachedPrompt(Struct, frozen=True, omit_defaults=True):
    """Which models have read a conversation before its last answer, so that a provider's prompt cache may hold it."""

    writer: str
    """The model that wrote that answer."""
    readers: tuple[str, ...] = ()
    """The other models that read the same prompt."""
