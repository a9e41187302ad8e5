"""What the dashboard does with packages above the gateway: `routemoa serve` brings it, a bare application has none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from routemoa.core.pool_file.pool import Pool
from routemoa.ledger.trace_store.traces import StoredTrace

__all__ = ["Operations"]


class Operations(Protocol):
    """All methods block, but for `probe`: call them in a thread. What they return is JSON."""

    def measure_quality(self, pool: Pool, judged: Iterable[StoredTrace], now: float) -> dict[str, Any]:
        """Return what feedback says. Raises RouteMoAError."""
        ...

    def list_learning_steps(self, pool: Pool) -> dict[str, Any]:
        """Return what was learned and taken over so far. Raises RouteMoAError."""
        ...

    def undo_learning(self, pool: Pool) -> dict[str, Any]:
        """Let the pool file name what it named before the last step. Raises RouteMoAError."""
        ...

    def describe_pool(self, pool: Pool) -> dict[str, Any]:
        """Return the members, and the text of the file without secrets. Raises RouteMoAError."""
        ...

    def check_pool(self, pool: Pool, text: str) -> dict[str, Any]:
        """Return whether a text could be taken over, and what it would change. Raises RouteMoAError."""
        ...

    def write_pool(self, pool: Pool, text: str, digest: str) -> bytes:
        """Write a text that is valid over the file whose digest is given; return the bytes of before.

        Raises:
            RouteMoAError: it is not valid, or the file is another one by now.
        """
        ...

    def restore_pool(self, pool: Pool, before: bytes) -> None:
        """Write the bytes of before. Raises RouteMoAError."""
        ...

    def list_providers(self) -> list[dict[str, Any]]:
        """Return the providers that there are, without asking them. Raises RouteMoAError."""
        ...

    def list_models(self, provider: str) -> dict[str, Any]:
        """Return what a provider lists, and which of it each preset would take. Raises RouteMoAError."""
        ...

    def add_models(self, pool: Pool, text: str, provider: str, models: Sequence[str]) -> str:
        """Return a text with further models of a provider. Raises RouteMoAError."""
        ...

    async def probe(self, pool: Pool, names: Sequence[str]) -> list[dict[str, Any]]:
        """Ask members for one token each. Raises RouteMoAError."""
        ...
