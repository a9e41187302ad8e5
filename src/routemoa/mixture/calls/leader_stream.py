"""Streams an answer while the mixture works, and decides whether it stands in the end. Pure."""

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
from routemoa.core.stop_reason import StopKind, StopReason
from routemoa.core.trace import Failure, Proposal
from routemoa.core.types import StreamMode
from routemoa.judging.answers.grouping import all_agree
from routemoa.mixture.calls.written_calls import before_tagged_call, may_be_written_call

__all__ = ["BROKEN_MARKER", "MARKER", "THOUGHT_MARKER", "THOUGHT_SHOWN", "LeaderStream"]

MARKER = "\n\n---\n\nOther models were asked as well, and on their word this is the better answer:\n\n"
"""Stands between an answer that was shown and the one that replaces it, for readers of plain text."""

THOUGHT_SHOWN = "what was shown was a thought"
THOUGHT_MARKER = "\n\n---\n\nThe text above was a thought of the model. This is its answer:\n\n"
"""Stands between a thought that was shown, since nothing marked it as one, and the answer."""


BROKEN_MARKER = "\n\n---\n\nThe answer above broke off. This is the answer of another model:\n\n"
"""Stands between an answer whose model failed and the one that takes its place, where nothing else is ever replaced."""


class LeaderStream:
    """The answer that is shown as it comes, and how much of it: events in, events out.

    In the mode "leader" the first model of the first layer leads. Where it fails before any of its text was shown, the
    next model that has begun leads. Where another answer is better, that one replaces it.

    In the mode "final" a model leads only where it is called alone and no other has to be called. What was shown of its
    answer is final: nothing replaces it, unless it breaks off. Where it fails unseen, no model leads.

    In no other mode does a model lead.

    Args:
        mode: what a reader is shown.
        has_tools: an answer may be a call that is written as text: one that begins so is shown when it is whole.
    """

    def __init__(self, mode: StreamMode | None, *, has_tools: bool = False) -> None:
        self.leader = ""
        self._has_tools = has_tools
        self._mode = mode
        self._active = False
        self._shown: list[str] = []
        self._void: str | None = None
        """Why the shown answer cannot stand, where it cannot."""
        self._failure: Failure | None = None
        """How its model failed, where it did."""
        self._texts: dict[str, list[str]] = {}
        """Model -> the pieces of its answer that were not shown."""
        self._finished: dict[str, Proposal] = {}
        self._failed: set[str] = set()

    @property
    def shown(self) -> str:
        """The text that was shown."""
        return "".join(self._shown)

    @property
    def is_final(self) -> bool:
        """Return whether what is shown of the layer's answer is final."""
        return self._active and self._mode == "final"

    def begin_layer(self, layer: int, called: Sequence[str], *, alone: bool = False) -> str | None:
        """Return the model that leads a layer; None where none leads, as where one model gives several answers.

        Args:
            layer: its number, from 1.
            called: the models of the layer, best first.
            alone: its one model is expected to do as well as a mixture.
        """
        distinct = len(set(called)) == len(called)
        self._active = distinct and layer == 1 and (self._mode == "leader" or (self._mode == "final" and alone))
        if not self._active:
            return None
        self.leader = called[0]
        return self.leader

    def observe(self, event: Event) -> list[Event]:
        """Return what is to be shown after an event of the first layer."""
        if not self._active:
            return []
        match event:
            case ProposalDelta(layer=1):
                self._texts.setdefault(event.model, []).append(event.text)
                self._offer_lead(event.model)
            case ProposalFinished(layer=1):
                self._finished[event.proposal.model] = event.proposal
                self._offer_lead(event.proposal.model)
                self._finish(event.proposal)
            case ProposalFailed(layer=1):
                self._fail(event.failure.model, event.failure)
            case Skipped():
                self._fail(event.skip.model, None)
            case _:
                return []
        return self._show_more()

    def stop_reason(self) -> StopReason | None:
        """Return why no further model is called, where what was shown is final; None where one may be."""
        if self._mode != "final" or not self._shown or self._void is not None:
            return None
        return StopReason(StopKind.ONE_MODEL, f"the answer of {self.leader} was shown as it came, so it stands")

    def stands(self, final_answers: Sequence[Proposal]) -> bool:
        """Return whether the shown answer is the final one: the best, or one that says the same."""
        shown = self._finished.get(self.leader)
        if shown is None or self._void is not None or not self._shown or not final_answers:
            return False
        if self._mode == "final":
            return True
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
        if not self._shown:
            return []
        better = f"the judges prefer the answer of {final_answers[0].model}" if final_answers else "it is not whole"
        broken = MARKER if self._failure is None or self._mode == "leader" else BROKEN_MARKER
        marker = THOUGHT_MARKER if self._void == THOUGHT_SHOWN else broken
        return [AnswerReplaced(self._void or better, self.leader, marker)]

    def _offer_lead(self, model: str) -> None:
        """Let a model that has begun lead, where the leader has failed unseen."""
        if not self._shown and self.leader in self._failed:
            self.leader = model

    def _fail(self, name: str, failure: Failure | None) -> None:
        """Note that a model has failed, or was not called."""
        self._failed.add(name)
        if name != self.leader:
            return
        if self._shown and failure is not None:
            self._failure, self._void = failure, f"{name} failed: {failure.public_reason}"
        elif self._mode == "final":
            self._active = False
        elif begun := [m for m in self._texts if m not in self._failed]:
            self.leader = begun[0]

    def _finish(self, proposal: Proposal) -> None:
        """Keep what was not shown yet of a complete answer, which is stripped.

        It may be shorter by white space than what was shown, but another text makes that void.
        """
        model, text = proposal.model, proposal.text
        shown = self.shown if model == self.leader else ""
        seen = shown if text.startswith(shown) else shown.lstrip()
        if text.startswith(seen):
            self._texts[model] = [text[len(seen) :]]
        else:
            self._texts[model] = []
            self._void = self._void if seen.strip() == text.strip() else THOUGHT_SHOWN

    def _show_more(self) -> list[Event]:
        """Show what the leader has written; white space at the beginning waits for the first word."""
        pieces = self._texts.get(self.leader)
        if not pieces or self._void is not None or not (self._shown or pieces[-1].strip()):
            return []
        text = "".join(pieces)
        held = ""
        if self._has_tools and self.leader not in self._finished:
            if not self._shown and may_be_written_call(text):
                return []
            visible = before_tagged_call(text)
            text, held = visible, text[len(visible) :]
        pieces[:] = [held] if held else []
        if text:
            self._shown.append(text)
        return [AnswerDelta(text)] if text else []
