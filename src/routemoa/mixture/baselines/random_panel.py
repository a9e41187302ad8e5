"""A panel drawn at random, with RouteMoA's aggregator rule: routing is worth what it gains over this."""

from __future__ import annotations

import random

from routemoa.core.events import Stopped
from routemoa.core.pool_file.pool import Pool
from routemoa.core.protocols import Client
from routemoa.core.text.plural import counted
from routemoa.core.types import ModelSpec, Query
from routemoa.judging.answers.grouping import all_agree
from routemoa.mixture.answers.aggregator import write_answer
from routemoa.mixture.baselines.best_single import aggregator_candidates, choose_best_model
from routemoa.mixture.baselines.steps import last_answers, run_proposers, unable_models
from routemoa.mixture.layer import LayerRequest
from routemoa.mixture.method import BaseMethod
from routemoa.mixture.run import Run

__all__ = ["RandomPanel"]


class RandomPanel(BaseMethod):
    """One layer of `top_k` models drawn at random; the next one drawn replaces a model that fails."""

    def __init__(self, pool: Pool, client: Client) -> None:
        super().__init__("random", client, pool.limits, pool.absent)
        self.pool = pool
        self.best = choose_best_model(pool).spec

    async def run(self, run: Run) -> None:
        """Run one layer, then aggregate unless one answer is left or all agree."""
        order, drawn_by = self._draw(run.query)
        size = self.pool.mixture.dense_panel
        panel, reserve = order[:size], order[size:]
        await run_proposers(run, LayerRequest(1, run.query), panel, reserve)
        answers = last_answers(run.trace, order)
        if not answers:
            raise run.no_answer()
        run.emit(Stopped(f"one layer: {len(panel)} of {counted(len(order), 'model')} drawn by {drawn_by}"))

        agreed = len(answers) == 1 or all_agree([p.text for p in answers])
        writers = [] if agreed else aggregator_candidates(self.pool, self.best, unable_models(run.trace))
        await write_answer(run, answers, writers)

    def _draw(self, query: Query) -> tuple[list[ModelSpec], str]:
        """Return the pool in random order, and what it was drawn by: the same for the same query and seed.

        The text counts also where the caller sets a seed: one seed for a whole evaluation would else draw one panel.
        """
        seed = query.parameters.get("seed")
        source = random.Random(f"{seed}\n{query.text}")  # noqa: S311  (no secret)
        drawn_by = "the query's text" if seed is None else f"the query's text and seed {seed}"
        return source.sample(self.pool.models, len(self.pool)), drawn_by
