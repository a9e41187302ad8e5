"""A panel drawn at random, with RouteMoA's aggregator rule: what routing is worth is what it gains over this."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import aclosing

from routemoa.core.events import Event, Stopped
from routemoa.core.pool import Pool
from routemoa.core.protocols import Client
from routemoa.core.trace import Fold
from routemoa.core.types import ModelSpec, Query
from routemoa.judging.answers.grouping import agree
from routemoa.mixture import aggregator, layer
from routemoa.mixture.baselines.base import Baseline
from routemoa.mixture.baselines.best_single import best, writers
from routemoa.mixture.baselines.steps import answers, failed, nobody, propose
from routemoa.mixture.budget.metering import Desk

__all__ = ["Drawn"]


class Drawn(Baseline):
    """One layer of `top_k` models drawn at random; the next one drawn takes the place of one that fails."""

    def __init__(self, pool: Pool, client: Client) -> None:
        super().__init__("random", client, pool.contract)
        self.pool = pool
        self.best = best(pool).spec

    async def walk(self, query: Query, so_far: Fold, desk: Desk) -> AsyncGenerator[Event, None]:
        """One layer, then RouteMoA's aggregator: none where one answer is left or all agree."""
        order, seed = self._draw(query)
        size = self.pool.mixture.dense_panel
        panel, reserve = order[:size], order[size:]
        async with aclosing(propose(layer.Plan(1, query), panel, desk, reserve)) as events:
            async for event in events:
                yield event
        given = answers(so_far.trace, order)
        if not given:
            raise nobody(so_far.trace, desk)
        yield Stopped(f"one layer: {len(panel)} of {len(order)} models drawn by {seed}")

        agreed = len(given) == 1 or agree([p.text for p in given])
        able = [] if agreed else writers(self.pool, self.best, failed(so_far.trace))
        async with aclosing(aggregator.write(query, given, able, desk)) as events:
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
