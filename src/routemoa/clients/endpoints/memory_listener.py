"""What hears of what a client finds out about its members, such as what tells other servers."""

from __future__ import annotations

from typing import Protocol

from routemoa.core.types import ModelSpec

__all__ = ["MemoryListener"]


class MemoryListener(Protocol):
    """Hears what is found out about members here; each `place` is a member at one endpoint."""

    def note_breaker(self, place: ModelSpec) -> None:
        """Hear that a breaker has opened or closed."""
        ...

    def note_answer(self, place: ModelSpec) -> None:
        """Hear that a member answers."""
        ...

    def note_learned(self, place: ModelSpec) -> None:
        """Hear that an endpoint refuses something."""
        ...
