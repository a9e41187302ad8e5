"""Mixture-of-Agents (arXiv 2406.04692, section 2): every model answers in every layer and sees the layer before."""

from __future__ import annotations

from routemoa.core.events import Stopped
from routemoa.core.pool_file.pool import Pool
from routemoa.core.protocols import Client
from routemoa.mixture.answers.aggregator import write_answer
from routemoa.mixture.baselines.best_single import aggregator_candidates, choose_best_model
from routemoa.mixture.baselines.steps import last_answers, remaining_models, run_proposers, unable_models
from routemoa.mixture.layer import LayerRequest
from routemoa.mixture.method import BaseMethod
from routemoa.mixture.run import Run

__all__ = ["MoA"]


class MoA(BaseMethod):
    """The dense mixture: models x layers calls, and one more for the aggregator.

    Not as in the paper: its last layer is the aggregator's own, here `layers` of proposers come before it (so do
    RouteMoA's authors count); the answers are quoted in the user turn, there in a system message.
    """

    def __init__(self, pool: Pool, client: Client) -> None:
        super().__init__("moa", client, pool.limits, pool.absent)
        self.pool = pool
        self.best = choose_best_model(pool).spec

    async def run(self, run: Run) -> None:
        """Run layers of all models, then aggregate."""
        models, layers = self.pool.models, self.pool.mixture.dense_layers
        reason = f"last layer: {layers} of {layers}"
        for number in range(1, layers + 1):
            remaining = remaining_models(models, run.trace)
            if not remaining:
                reason = "no model left to call"
                break
            await run_proposers(run, LayerRequest(number, run.query, last_answers(run.trace, models)), remaining)
        answers = last_answers(run.trace, models)
        if not answers:
            raise run.no_answer()
        run.emit(Stopped(reason))
        await write_answer(run, answers, aggregator_candidates(self.pool, self.best, unable_models(run.trace)))
