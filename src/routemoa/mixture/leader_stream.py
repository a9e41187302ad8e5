"""Streams the leading answer while the mixture works, and decides whether it stands in the end. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from routemoa.core.events import (
    AnswerDelta,
    AnswerReplaced,
    Event,
    ProposalDelta,
    ProposalFailed,
    ProposalFinished,
    Skipped,
)
from routemoa.core.trace import Proposal
from routemoa.core.types import StreamMode
from routemoa.judging.answers.grouping import all_agree

__all__ = ["MARKER", "THOUGHT_MARKER", "THOUGHT_SHOWN", "LeaderStream"]

MARKER = "\n\n---\n\nOther models were asked as well, and on their word this is the better answer:\n\n"
"""Stands between an answer that was shown and the one that replaces it, for readers of plain text."""

THOUGHT_SHOWN = "what was shown was a thought"
THOUGHT_MARKER = "\n\n---\n\nThe text above was a thought of the model. This is its answer:\n\n"
"""Stands between a thought that was shown, since nothing marked it as one, and the answer."""


class LeaderStream:
    """The answer that is shown as it comes, and how much of it: events in, events out.

    The first model of the first layer leads. Where it fails before any of its text was shown, the next model that has
    begun leads. No model leads in a stream mode other than "leader".
    """

    def __init__(self, mode: StreamMode | None) -> None:
        self.leader = ""
        self.shown = ""
        self._active = mode == "leader"
        self._broken: str | None = None
        """Why the shown answer cannot stand, once its model has failed."""
        self._texts: dict[str, str] = {}
        self._finished: dict[str, Proposal] = {}
        self._failed: set[str] = set()

    def begin_layer(self, layer: int, called: Sequence[str]) -> str | None:
        """Return the model that leads a layer in which these are called, best first; None where none leads."""
        if not self._active or layer > 1:
            return None
        self.leader = called[0]
        return self.leader

    def observe(self, event: Event) -> list[Event]:
        """Return what is to be shown after an event of the first layer."""
        if not self._active:
            return []
        match event:
            case ProposalDelta(layer=1):
                self._texts[event.model] = self._texts.get(event.model, "") + event.text
                self._offer_lead(event.model)
            case ProposalFinished(layer=1):
                self._texts[event.proposal.model] = event.proposal.text
                self._finished[event.proposal.model] = event.proposal
                self._offer_lead(event.proposal.model)
            case ProposalFailed(layer=1):
                self._fail(event.failure.model, event.failure.public_reason)
            case Skipped():
                self._fail(event.skip.model, event.skip.reason)
            case _:
                return []
        return self._show_more()

    def stands(self, final_answers: Sequence[Proposal]) -> bool:
        """Return whether the shown answer is the final one: the best, or one that says the same."""
        shown = self._finished.get(self.leader)
        if shown is None or self._broken or not self.shown.strip() or not final_answers:
            return False
        best = final_answers[0]
        if best.is_complete and not shown.is_complete:
            return False
        return best.text.strip() == self.shown.strip() or all_agree([best.text, self.shown])

    @property
    def answer(self) -> Proposal | None:
        """The shown answer, once it is complete."""
        return self._finished.get(self.leader)

    def replacement(self, final_answers: Sequence[Proposal]) -> list[Event]:
        """Return the event that announces another answer; none where nothing was shown."""
        if not self.shown:
            return []
        better = f"the judges prefer the answer of {final_answers[0].model}" if final_answers else "it is not whole"
        marker = THOUGHT_MARKER if self._broken == THOUGHT_SHOWN else MARKER
        return [AnswerReplaced(self._broken or better, self.leader, marker)]

    def _offer_lead(self, model: str) -> None:
        """Let a model that has begun lead, where the leader has failed unseen."""
        if not self.shown and self.leader in self._failed:
            self.leader = model

    def _fail(self, name: str, reason: str) -> None:
        self._failed.add(name)
        begun = [m for m in self._texts if m not in self._failed]
        if name == self.leader and self.shown:
            self._broken = f"{name} failed: {reason}"
        elif name == self.leader and begun:
            self.leader = begun[0]

    def _show_more(self) -> list[Event]:
        text = self._texts.get(self.leader, "")
        seen = self.shown if text.startswith(self.shown) else self.shown.lstrip()  # a finished answer is stripped
        if not text.startswith(seen) and self.leader in self._finished and not self._broken:
            # A finished answer may be shorter than what was shown by white space, but not another text.
            self._broken = None if seen.strip() == text.strip() else THOUGHT_SHOWN
        if len(text) <= len(seen) or not text.startswith(seen) or self._broken:
            return []
        piece = text[len(seen) :]
        self.shown += piece
        return [AnswerDelta(piece)]
