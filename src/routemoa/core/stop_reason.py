"""Why no further layer runs: the kinds of reasons, and their texts in a trace."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

__all__ = ["StopKind", "StopReason"]


class StopKind(StrEnum):
    """The kinds of reasons to stop, as they begin the texts of `Trace.stop_reason`."""

    SURE = "sure"
    AGREED = "agreed"
    LAST_LAYER = "last layer"
    PANEL_COMPLETE = "panel complete"
    ONE_MODEL = "one model alone"
    NO_EVIDENCE = "no further evidence expected"
    NO_ANSWER = "no new answer"
    NO_MODEL = "no model left to call"
    LIMITS = "contract"
    CONFIDENT = "confident"
    OPEN = "open question"
    OTHER = ""


class StopReason(Struct, frozen=True):
    """Why no further layer runs. Its text, "kind: detail", is what a trace holds."""

    kind: StopKind
    detail: str = ""

    def __str__(self) -> str:
        if self.kind is StopKind.OTHER:
            return self.detail
        return f"{self.kind}: {self.detail}" if self.detail else self.kind.value

    @classmethod
    def parse(cls, text: str) -> StopReason:
        """Read the text of a trace; text that begins with no known kind is of kind OTHER."""
        kind, _, detail = text.partition(": ")
        try:
            return cls(StopKind(kind), detail)
        except ValueError:
            return cls(StopKind.OTHER, text)
