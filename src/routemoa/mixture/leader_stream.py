"""First token first: the leader's answer is shown while the panel works, and what becomes of it is said afterwards."""

from __future__ import annotations

from collections.abc import Sequence

from routemoa.core.events import AnswerDelta, AnswerReplaced, Event, ProposalDelta, ProposalFailed, ProposalFinished
from routemoa.core.trace import Proposal
from routemoa.core.types import StreamMode
from routemoa.judging.answers.grouping import all_agree

__all__ = ["MARKER", "LeaderStream"]

MARKER = "\n\n---\n\nOther models were asked as well, and on their word this is the better answer:\n\n"
"""What stands between an answer that was shown and the one that takes its place, for readers of plain text."""


class LeaderStream:
    """Whose answer is shown, and how much of it. Pure: events in, events out.

    The first model of the first layer leads. Where it fails before a word of it was shown, the next that has begun
    takes the lead. In any other stream mode than "leader" nobody does.
    """

    def __init__(self, mode: StreamMode | None) -> None:
        self._active = mode == "leader"
        self.leader = ""
        self.shown = ""
        self._broke: str | None = None
        self._texts: dict[str, str] = {}
        self._whole: set[str] = set()  # whose answers are complete
        self._failed: set[str] = set()

    def follow(self, layer: int, called: Sequence[str]) -> str | None:
        """Who leads a layer that calls these models, best first; None: nobody."""
        if not self._active or layer > 1:
            return None
        self.leader = called[0]
        return self.leader

    def hear(self, event: Event) -> list[Event]:
        """What is shown of what the first layer says."""
        if not self._active:
            return []
        match event:
            case ProposalDelta(layer=1):
                self._texts[event.model] = self._texts.get(event.model, "") + event.text
                self._offer(event.model)
            case ProposalFinished(layer=1):
                self._texts[event.proposal.model] = event.proposal.text
                self._whole.add(event.proposal.model)
                self._offer(event.proposal.model)
            case ProposalFailed(layer=1):
                self._fail(event)
            case _:
                return []
        return self._more()

    def _offer(self, model: str) -> None:
        """Somebody has begun: the leader, where there is none any more."""
        if not self.shown and self.leader in self._failed:
            self.leader = model

    def _fail(self, event: ProposalFailed) -> None:
        name = event.failure.model
        self._failed.add(name)
        left = [m for m in self._texts if m not in self._failed]
        if name == self.leader and self.shown:
            self._broke = f"{name} failed: {event.failure.reason}"
        elif name == self.leader and left:
            self.leader = left[0]

    def _more(self) -> list[Event]:
        text = self._texts.get(self.leader, "")
        seen = self.shown if text.startswith(self.shown) else self.shown.lstrip()  # a whole answer comes stripped
        if len(text) <= len(seen) or not text.startswith(seen) or self._broke:
            return []
        piece = text[len(seen) :]
        self.shown += piece
        return [AnswerDelta(piece)]

    def stands(self, final: Sequence[Proposal]) -> bool:
        """Whether what was shown is the answer: the judges put it first, or one that says the same."""
        if self.leader not in self._whole or self._broke or not self.shown.strip() or not final:
            return False
        best = final[0]
        return best.text.strip() == self.shown.strip() or all_agree([best.text, self.shown])

    def continued(self, final: Sequence[Proposal]) -> list[Event]:
        """What says that another answer follows; nothing where none was shown."""
        if not self.shown:
            return []
        better = f"the judges prefer the answer of {final[0].model}" if final else "it is not whole"
        return [AnswerReplaced(self._broke or better, self.leader, MARKER)]
