"""A panel drawn at random, with RouteMoA's aggregator rule: what routing is worth is what it gains over this."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import aclosing

from routemoa.core.events import Event, Stopped
from routemoa.core.pool import Pool
from routemoa.core.protocols import Client
from routemoa.core.trace_builder import TraceBuilder
from routemoa.core.types import ModelSpec, Query
from routemoa.judging.answers.grouping import all_agree
from routemoa.mixture import aggregator, layer
from routemoa.mixture.baselines.base import Baseline
from routemoa.mixture.baselines.best_single import aggregator_candidates, choose_best_model
from routemoa.mixture.baselines.steps import all_failed_models, last_answers, no_answer_error, run_proposers
from routemoa.mixture.budget.metering import MeteredClient

__all__ = ["RandomPanel"]


class RandomPanel(Baseline):
    """One layer of `top_k` models drawn at random; the next one drawn takes the place of one that fails."""

    def __init__(self, pool: Pool, client: Client) -> None:
        super().__init__("random", client, pool.limits)
        self.pool = pool
        self.best = choose_best_model(pool).spec

    async def walk(self, query: Query, so_far: TraceBuilder, desk: MeteredClient) -> AsyncGenerator[Event, None]:
        """One layer, then RouteMoA's aggregator: none where one answer is left or all agree."""
        order, seed = self._draw(query)
        size = self.pool.mixture.dense_panel
        panel, reserve = order[:size], order[size:]
        async with aclosing(run_proposers(layer.LayerRequest(1, query), panel, desk, reserve)) as events:
            async for event in events:
                yield event
        given = last_answers(so_far.trace, order)
        if not given:
            raise no_answer_error(so_far.trace, desk)
        yield Stopped(f"one layer: {len(panel)} of {len(order)} models drawn by {seed}")

        agreed = len(given) == 1 or all_agree([p.text for p in given])
        able = [] if agreed else aggregator_candidates(self.pool, self.best, all_failed_models(so_far.trace))
        async with aclosing(aggregator.write_answer(query, given, able, desk)) as events:
            async for event in events:
                yield event

    def _draw(self, query: Query) -> tuple[list[ModelSpec], str]:
        """The pool in random order, and by what: the same again for the same query and seed.

        The text counts also where the caller sets a seed: one seed for a whole evaluation would else draw one panel.
        """
        seed = query.parameters.get("seed")
        source = random.Random(f"{seed}\n{query.text}")  # noqa: S311  (no secret)
        by = "the query's text" if seed is None else f"the query's text and seed {seed}"
        return source.sample(self.pool.models, len(self.pool)), by
