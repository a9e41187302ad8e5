"""One model of the pool, asked once."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from routemoa import layer
from routemoa.baselines.method import Baseline
from routemoa.baselines.parts import propose
from routemoa.desk import Desk
from routemoa.events import AnswerDelta, Event, ProposalDelta, ProposalFailed, ProposalFinished, Stopped
from routemoa.protocols import Client
from routemoa.trace import Fold
from routemoa.types import Contract, ModelSpec, Query

__all__ = ["Single"]


class Single(Baseline):
    """One model of the pool, asked once; `why` it was this one is the stop reason."""

    def __init__(
        self,
        spec: ModelSpec,
        client: Client,
        name: str | None = None,
        why: str = "one model was asked for",
        contract: Contract = Contract(),  # noqa: B008  (frozen)
    ) -> None:
        super().__init__(name or f"single:{spec.name}", client, contract)
        self.spec = spec
        self.why = why

    async def walk(self, query: Query, so_far: Fold, desk: Desk) -> AsyncGenerator[Event, None]:
        """The answer streams as it is written."""
        streamed = ""
        async with aclosing(propose(layer.Plan(1, query), [self.spec], desk)) as events:
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
