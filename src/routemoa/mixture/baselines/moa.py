"""Mixture-of-Agents (arXiv 2406.04692, section 2): everybody answers in every layer and sees the layer before."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from routemoa.core.events import Event, Stopped
from routemoa.core.pool import Pool
from routemoa.core.protocols import Client
from routemoa.core.trace import Fold
from routemoa.core.types import Query
from routemoa.mixture import aggregator, layer
from routemoa.mixture.baselines.base import Baseline
from routemoa.mixture.baselines.best_single import best, writers
from routemoa.mixture.baselines.steps import answers, failed, nobody, propose, standing
from routemoa.mixture.budget.metering import Desk

__all__ = ["MoA"]


class MoA(Baseline):
    """The dense mixture: models x layers calls, and one more for the aggregator.

    Not as in the paper: its last layer is the aggregator's own, here `layers` of proposers come before it (so do
    RouteMoA's authors count); the answers are quoted in the user turn, there in a system message.
    """

    def __init__(self, pool: Pool, client: Client) -> None:
        super().__init__("moa", client, pool.contract)
        self.pool = pool
        self.best = best(pool).spec

    async def walk(self, query: Query, so_far: Fold, desk: Desk) -> AsyncGenerator[Event, None]:
        """Layers of everybody, then the aggregator."""
        limit = self.pool.mixture.dense_layers
        reason = f"last layer: {limit} of {limit}"
        for number in range(1, limit + 1):
            models = standing(self.pool.models, so_far.trace)
            if not models:
                reason = "no model left to call"
                break
            plan = layer.Plan(number, query, answers(so_far.trace, self.pool.models))
            async with aclosing(propose(plan, models, desk)) as events:
                async for event in events:
                    yield event
        last = answers(so_far.trace, self.pool.models)
        if not last:
            raise nobody(so_far.trace, desk)
        yield Stopped(reason)
        able = writers(self.pool, self.best, failed(so_far.trace))
        async with aclosing(aggregator.write(query, last, able, desk)) as events:
            async for event in events:
                yield event
