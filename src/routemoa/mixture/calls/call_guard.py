"""What a group of calls asks before it calls a model: may it be called now?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from routemoa.core.types import ModelSpec

__all__ = ["CallGuard", "OpenGuard", "Ticket"]


class Ticket(Protocol):
    """The right to make one call."""

    def close(self) -> None:
        """Return it once the call has ended."""
        ...


class CallGuard(Protocol):
    """Says which models may be called now."""

    def is_ready(self, spec: ModelSpec) -> bool:
        """Return whether a model may be called now."""
        ...

    def admit(self, spec: ModelSpec) -> Ticket | None:
        """Return the right to call a model; None, and a note in the trace, where it may not be called."""
        ...

    def force(self, specs: Sequence[ModelSpec]) -> tuple[ModelSpec, Ticket] | None:
        """Return the least bad of models of which none is ready, with the right to call it; None where none has."""
        ...

    def report_slow(self, spec: ModelSpec, seconds: float) -> None:
        """Note that a call was cancelled since nothing had come for so long."""
        ...


class OpenGuard:
    """Lets every model be called."""

    def is_ready(self, spec: ModelSpec) -> bool:
        """Return True."""
        return True

    def admit(self, spec: ModelSpec) -> Ticket:
        """Return a ticket that nothing depends on."""
        return self

    def force(self, specs: Sequence[ModelSpec]) -> tuple[ModelSpec, Ticket] | None:
        """Return None: every model is ready."""
        return None

    def report_slow(self, spec: ModelSpec, seconds: float) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
