"""One model of the pool, asked once."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from routemoa.core.events import AnswerDelta, Event, ProposalDelta, ProposalFailed, ProposalFinished, Stopped
from routemoa.core.protocols import Client
from routemoa.core.trace_builder import TraceBuilder
from routemoa.core.types import Limits, ModelSpec, Query
from routemoa.mixture import layer
from routemoa.mixture.baselines.base import Baseline
from routemoa.mixture.baselines.steps import run_proposers
from routemoa.mixture.budget.metering import MeteredClient

__all__ = ["Single"]


class Single(Baseline):
    """One model of the pool, asked once; `why` it was this one is the stop reason."""

    def __init__(
        self,
        spec: ModelSpec,
        client: Client,
        name: str | None = None,
        why: str = "one model was asked for",
        contract: Limits = Limits(),  # noqa: B008  (frozen)
    ) -> None:
        super().__init__(name or f"single:{spec.name}", client, contract)
        self.spec = spec
        self.why = why

    async def walk(self, query: Query, so_far: TraceBuilder, desk: MeteredClient) -> AsyncGenerator[Event, None]:
        """The answer streams as it is written."""
        streamed = ""
        async with aclosing(run_proposers(layer.LayerRequest(1, query), [self.spec], desk)) as events:
            async for event in events:
                yield event
                if isinstance(event, ProposalFailed):
                    raise desk.nobody([event.failure])
                if isinstance(event, ProposalDelta):
                    streamed += event.text
                    yield AnswerDelta(event.text)
                elif isinstance(event, ProposalFinished) and not streamed:
                    yield AnswerDelta(event.proposal.text)
        yield Stopped(self.why)
        yield desk.done("stop")
