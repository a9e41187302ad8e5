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
from routemoa.core.trace import Failure, Proposal, StopKind, StopReason
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

    In the mode "leader" the first model of the first layer leads. Where it fails before any of its text was shown, the
    next model that has begun leads. Where another answer is better, that one replaces it.

    In the mode "final" a model leads only where it is called alone and no other has to be called. What was shown of its
    answer is final: nothing replaces it. Where it fails unseen, no model leads.

    In no other mode does a model lead.
    """

    def __init__(self, mode: StreamMode | None) -> None:
        self.leader = ""
        self._mode = mode
        self._active = False
        self._shown: list[str] = []
        self._failure: Failure | None = None
        """Why the shown answer cannot stand, once its model has failed."""
        self._showed_thought = False
        """Whether what was shown turned out to be a thought that nothing had marked."""
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
        """Whether what is shown of the layer's answer is final."""
        return self._active and self._mode == "final"

    @property
    def broken_off(self) -> Failure | None:
        """The failure of a model whose answer was shown in part, where nothing may replace it."""
        return self._failure if self._mode == "final" else None

    def begin_layer(self, layer: int, called: Sequence[str], *, alone: bool = False) -> str | None:
        """Return the model that leads a layer; None where none leads.

        Args:
            layer: its number, from 1.
            called: the models of the layer, best first.
            alone: its one model is expected to do as well as a mixture.
        """
        self._active = layer == 1 and (self._mode == "leader" or (self._mode == "final" and alone))
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
                model = event.proposal.model
                self._finished[model] = event.proposal
                self._offer_lead(model)
                self._texts[model] = [self._rest_of(event.proposal)]
            case ProposalFailed(layer=1):
                self._fail(event.failure.model, event.failure)
            case Skipped():
                self._fail(event.skip.model)
            case _:
                return []
        return self._show_more()

    def stop_reason(self) -> StopReason | None:
        """Return why no further model is called, where what was shown is final; None where one may be."""
        if self._mode != "final" or not self._shown:
            return None
        if self._failure is not None:
            return StopReason(StopKind.NO_ANSWER, f"the answer of {self.leader} broke off after a part of it was shown")
        return StopReason(StopKind.ONE_MODEL, f"the answer of {self.leader} was shown as it came, so it stands")

    def stands(self, final_answers: Sequence[Proposal]) -> bool:
        """Return whether the shown answer is the final one: the best, or one that says the same."""
        shown = self._finished.get(self.leader)
        if shown is None or self._failure or self._showed_thought or not self._shown or not final_answers:
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
        if self._showed_thought:
            return [AnswerReplaced(THOUGHT_SHOWN, self.leader, THOUGHT_MARKER)]
        failure = self._failure
        why = better if failure is None else f"{failure.model} failed: {failure.public_reason}"
        return [AnswerReplaced(why, self.leader, MARKER)]

    def _offer_lead(self, model: str) -> None:
        """Let a model that has begun lead, where the leader has failed unseen."""
        if not self._shown and self.leader in self._failed:
            self.leader = model

    def _fail(self, model: str, failure: Failure | None = None) -> None:
        """Note that a model failed, or was not called where there is no `failure`."""
        self._failed.add(model)
        if model != self.leader:
            return
        if self._shown:
            self._failure = failure
        elif self._mode == "final":
            self._active = False
        elif begun := [m for m in self._texts if m not in self._failed]:
            self.leader = begun[0]

    def _rest_of(self, proposal: Proposal) -> str:
        """Return what was not shown yet of a complete answer, which is stripped; note where it is another text."""
        shown = self.shown if proposal.model == self.leader else ""
        seen = shown if proposal.text.startswith(shown) else shown.lstrip()
        if proposal.text.startswith(seen):
            return proposal.text[len(seen) :]
        self._showed_thought = seen.strip() != proposal.text.strip()
        return ""

    def _show_more(self) -> list[Event]:
        """Show what the leader has written; white space at the beginning waits for the first word."""
        pieces = self._texts.get(self.leader)
        is_void = self._failure is not None or self._showed_thought
        if not pieces or is_void or not (self._shown or pieces[-1].strip()):
            return []
        text = "".join(pieces)
        pieces.clear()
        if text:
            self._shown.append(text)
        return [AnswerDelta(text)] if text else []
