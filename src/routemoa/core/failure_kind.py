"""The kinds of failed calls."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["KEY_STATUSES", "FailureKind"]

KEY_STATUSES = frozenset({401, 403})
"""HTTP statuses with which an endpoint refuses the key that the pool file names, not the key of a caller."""


class FailureKind(StrEnum):
    """The kinds of failed calls; the values stand in traces and ledgers."""

    OTHER = "ModelError"
    UNREACHABLE = "Unreachable"
    TIMEOUT = "TimedOut"
    HTTP_ERROR = "Refused"
    INVALID_RESPONSE = "Garbled"
    CANCELLED = "Cut"
    UNAFFORDABLE = "Unaffordable"
