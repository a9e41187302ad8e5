"""Self-MoA (arXiv 2502.00674, section 3): several samples of the one best model, aggregated by the same model."""

from __future__ import annotations

from msgspec.structs import replace

from routemoa.core.events import Stopped
from routemoa.core.plural import counted
from routemoa.core.pool import Pool
from routemoa.core.protocols import Client
from routemoa.core.types import ModelSpec, Query
from routemoa.mixture.aggregator import write_answer
from routemoa.mixture.baselines.best_single import choose_best_model
from routemoa.mixture.baselines.steps import last_answers, run_proposers
from routemoa.mixture.layer import LayerRequest
from routemoa.mixture.method import BaseMethod
from routemoa.mixture.run import Run

__all__ = ["SelfMoA"]

TEMPERATURE = 0.7
"""Of the samples, as published."""
SEEDS = 2**31
"""Every endpoint takes a non-negative seed of 31 bits."""


class SelfMoA(BaseMethod):
    """`top_k` samples (at least two) of the best model; the paper takes six.

    Where the pool file fixes the model's temperature, that one is used: at 0 the samples may well be the same.
    """

    def __init__(self, pool: Pool, client: Client) -> None:
        super().__init__("self-moa", client, pool.limits)
        self.best = choose_best_model(pool)
        self.count = max(2, pool.mixture.dense_panel)

    async def run(self, run: Run) -> None:
        """Run one layer of samples, then aggregate."""
        spec = self.best.spec
        samples = [self._sample(run.query, i) for i in range(self.count)]
        await run_proposers(run, LayerRequest(1, run.query), samples)
        answers = last_answers(run.trace, [spec])
        if not answers:
            raise run.no_answer()
        run.emit(Stopped(f"{len(answers)} of {counted(self.count, 'sample')} of {spec.name}: {self.best.why}"))
        await write_answer(run, answers, [spec])

    def _sample(self, query: Query, number: int) -> ModelSpec:
        """Return the model with a seed of its own; a member's parameters go before the caller's."""
        own = self.best.spec.parameters
        first = own.get("seed", query.parameters.get("seed"))
        seed = ((first if isinstance(first, int) else 0) + number) % SEEDS
        return replace(self.best.spec, parameters={"temperature": TEMPERATURE, **own, "seed": seed})
