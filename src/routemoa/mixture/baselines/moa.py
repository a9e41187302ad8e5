"""Mixture-of-Agents (arXiv 2406.04692, section 2): everybody answers in every layer and sees the layer before."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from routemoa.core.events import Event, Stopped
from routemoa.core.pool import Pool
from routemoa.core.protocols import Client
from routemoa.core.trace_builder import TraceBuilder
from routemoa.core.types import Query
from routemoa.mixture import aggregator, layer
from routemoa.mixture.baselines.base import Baseline
from routemoa.mixture.baselines.best_single import aggregator_candidates, choose_best_model
from routemoa.mixture.baselines.steps import (
    all_failed_models,
    last_answers,
    no_answer_error,
    remaining_models,
    run_proposers,
)
from routemoa.mixture.budget.metering import MeteredClient

__all__ = ["MoA"]


class MoA(Baseline):
    """The dense mixture: models x layers calls, and one more for the aggregator.

    Not as in the paper: its last layer is the aggregator's own, here `layers` of proposers come before it (so do
    RouteMoA's authors count); the answers are quoted in the user turn, there in a system message.
    """

    def __init__(self, pool: Pool, client: Client) -> None:
        super().__init__("moa", client, pool.limits)
        self.pool = pool
        self.best = choose_best_model(pool).spec

    async def walk(self, query: Query, so_far: TraceBuilder, desk: MeteredClient) -> AsyncGenerator[Event, None]:
        """Layers of everybody, then the aggregator."""
        limit = self.pool.mixture.dense_layers
        reason = f"last layer: {limit} of {limit}"
        for number in range(1, limit + 1):
            models = remaining_models(self.pool.models, so_far.trace)
            if not models:
                reason = "no model left to call"
                break
            plan = layer.LayerRequest(number, query, last_answers(so_far.trace, self.pool.models))
            async with aclosing(run_proposers(plan, models, desk)) as events:
                async for event in events:
                    yield event
        last = last_answers(so_far.trace, self.pool.models)
        if not last:
            raise no_answer_error(so_far.trace, desk)
        yield Stopped(reason)
        able = aggregator_candidates(self.pool, self.best, all_failed_models(so_far.trace))
        async with aclosing(aggregator.write_answer(query, last, able, desk)) as events:
            async for event in events:
                yield event
