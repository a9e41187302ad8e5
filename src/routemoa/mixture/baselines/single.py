"""One model of the pool, asked once."""

from __future__ import annotations

from routemoa.core.events import AnswerDelta, AnswerReplaced, Event, ProposalDelta, ProposalFinished, Stopped
from routemoa.core.protocols import Client
from routemoa.core.types import Limits, ModelSpec
from routemoa.mixture.baselines.steps import run_proposers
from routemoa.mixture.layer import LayerRequest
from routemoa.mixture.leader_stream import THOUGHT_MARKER, THOUGHT_SHOWN
from routemoa.mixture.method import BaseMethod
from routemoa.mixture.run import Run

__all__ = ["Single"]


class Single(BaseMethod):
    """One model of the pool, asked once; `why` it was this one is the stop reason."""

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

    async def run(self, run: Run) -> None:
        """Stream the answer as it is written."""
        streamed: list[str] = []  # the part of the answer that was shown

        def show(event: Event) -> None:
            if isinstance(event, ProposalDelta):
                streamed.append(event.text)
                run.emit(AnswerDelta(event.text))
            elif isinstance(event, ProposalFinished) and "".join(streamed).strip() != event.proposal.text:
                if streamed:  # a part of it turned out to be a thought
                    run.emit(AnswerReplaced(THOUGHT_SHOWN, self.spec.name, THOUGHT_MARKER))
                run.emit(AnswerDelta(event.proposal.text))

        run.observe(show)
        await run_proposers(run, LayerRequest(1, run.query), [self.spec])
        layer = run.trace.layers[0]
        if not layer.proposals:
            if streamed and run.shows_final_text:
                run.emit(Stopped(self.why))
                run.break_off(layer.failures[-1])
                return
            raise run.no_answer()
        run.emit(Stopped(self.why))
        run.finish_with(run.trace.layers[0].proposals[0])
