"""One model of the pool, asked once."""

from __future__ import annotations

from routemoa.core.events import AnswerDelta, AnswerReplaced, Event, ProposalDelta, ProposalFinished, Stopped
from routemoa.core.protocols import Client
from routemoa.core.types import Limits, ModelSpec
from routemoa.mixture.baselines.steps import run_proposers
from routemoa.mixture.calls.leader_stream import THOUGHT_MARKER, THOUGHT_SHOWN
from routemoa.mixture.calls.written_calls import before_tagged_call, may_be_written_call
from routemoa.mixture.layer import LayerRequest
from routemoa.mixture.method import BaseMethod
from routemoa.mixture.run import Run

__all__ = ["Single"]


class Single(BaseMethod):
    """One model of the pool, asked once; `why` it was this one is the stop reason."""

    takes_tools = True
    takes_choices = True
    takes_media = True

    def __init__(
        self,
        spec: ModelSpec,
        client: Client,
        name: str | None = None,
        why: str = "one model was asked for",
        limits: Limits = Limits(),  # noqa: B008  (frozen)
    ) -> None:
        super().__init__(name or f"single:{spec.name}", client, limits)
        self.spec = spec
        self.why = why

    def sampled_model(self, run: Run) -> ModelSpec | None:
        """Return the model."""
        return self.spec

    async def run(self, run: Run) -> None:
        """Stream the answer as it is written."""
        streamed: list[str] = []  # the part of the answer that was shown
        held: list[str] = []  # the beginning of what may be a call that is written as text: shown when it is whole

        def show(event: Event) -> None:
            if isinstance(event, ProposalDelta | ProposalFinished) and event.layer > 1:
                return  # a further answer, where the caller wants several
            if isinstance(event, ProposalDelta):
                if run.query.answer_format is not None:
                    return  # a form is checked when it is whole
                text = "".join(held) + event.text
                held.clear()
                if run.query.tools is not None:
                    is_open = not streamed and may_be_written_call(text)
                    visible = "" if is_open else before_tagged_call(text)
                    held.append(text[len(visible) :])
                    text = visible
                if text:
                    streamed.append(text)
                    run.emit(AnswerDelta(text))
            elif isinstance(event, ProposalFinished) and "".join(streamed).strip() != event.proposal.text:
                shown, whole = "".join(streamed).lstrip(), event.proposal.text
                if not whole.startswith(shown):  # a part of it turned out to be a thought
                    run.emit(AnswerReplaced(THOUGHT_SHOWN, self.spec.name, THOUGHT_MARKER))
                    shown = ""
                run.emit(AnswerDelta(whole[len(shown) :]))

        run.observe(show)
        await run_proposers(run, LayerRequest(1, run.query, leader=self.spec.name), [self.spec])
        layer = run.trace.layers[0]
        if not layer.proposals:
            if streamed and run.shows_final_text:
                run.emit(Stopped(self.why))
                run.break_off(layer.failures[-1])
                return
            raise run.no_answer()
        run.emit(Stopped(self.why))
        run.finish_with(run.trace.layers[0].proposals[0])
