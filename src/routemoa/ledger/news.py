"""What a store must do to pass messages on between gateways. Hints: one may be lost, and none is waited for."""

from __future__ import annotations

from typing import Protocol

__all__ = ["NewsStore"]


class NewsStore(Protocol):
    """Passes messages on between all processes. Only one method runs at a time."""

    async def exchange(self, message: bytes) -> list[tuple[float, bytes]]:
        """Tell the others something, unless it is empty; return what they have said, with the seconds since.

        Raises:
            StoreError: it is unknown whether it was told.
        """
        ...

    async def aclose(self) -> None:
        """Close the connection."""
        ...
