"""Self-MoA (arXiv 2502.00674, section 3): several samples of the one best model, aggregated by the same model."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from msgspec.structs import replace

from routemoa.core.events import Event, Stopped
from routemoa.core.pool import Pool
from routemoa.core.protocols import Client
from routemoa.core.trace_builder import TraceBuilder
from routemoa.core.types import ModelSpec, Query
from routemoa.mixture import aggregator, layer
from routemoa.mixture.baselines.base import Baseline
from routemoa.mixture.baselines.best_single import choose_best_model
from routemoa.mixture.baselines.steps import last_answers, no_answer_error, run_proposers
from routemoa.mixture.budget.metering import MeteredClient

__all__ = ["SelfMoA"]

TEMPERATURE = 0.7  # of the samples, as published
SEEDS = 2**31  # every endpoint takes a non-negative seed of 31 bits


class SelfMoA(Baseline):
    """`top_k` samples (at least two) of the best model; the paper takes six.

    Where the pool file fixes the model's temperature, that one stands: at 0 the samples may well be the same.
    """

    def __init__(self, pool: Pool, client: Client) -> None:
        super().__init__("self-moa", client, pool.limits)
        self.best = choose_best_model(pool)
        self.count = max(2, pool.mixture.dense_panel)

    async def walk(self, query: Query, so_far: TraceBuilder, desk: MeteredClient) -> AsyncGenerator[Event, None]:
        """One layer of samples, then the aggregator."""
        spec = self.best.spec
        samples = [self._sample(query, i) for i in range(self.count)]
        async with aclosing(run_proposers(layer.LayerRequest(1, query), samples, desk)) as events:
            async for event in events:
                yield event
        given = last_answers(so_far.trace, [spec])
        if not given:
            raise no_answer_error(so_far.trace, desk)
        yield Stopped(f"{len(given)} of {self.count} samples of {spec.name}: {self.best.why}")

        async with aclosing(aggregator.write_answer(query, given, [spec], desk)) as events:
            async for event in events:
                yield event

    def _sample(self, query: Query, number: int) -> ModelSpec:
        """The model with a seed of its own; a member's parameters go before the caller's."""
        own = self.best.spec.parameters
        first = own.get("seed", query.parameters.get("seed"))
        seed = ((first if isinstance(first, int) else 0) + number) % SEEDS
        return replace(self.best.spec, parameters={"temperature": TEMPERATURE, **own, "seed": seed})
