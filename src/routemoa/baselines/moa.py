"""Mixture-of-Agents (arXiv 2406.04692, section 2): everybody answers in every layer and sees the layer before."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from routemoa import aggregator, layer
from routemoa.baselines.best import best, writers
from routemoa.baselines.method import Baseline
from routemoa.baselines.parts import answers, failed, nobody, propose, standing
from routemoa.desk import Desk
from routemoa.events import Event, Stopped
from routemoa.pool import Pool
from routemoa.protocols import Client
from routemoa.trace import Fold
from routemoa.types import Query

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
