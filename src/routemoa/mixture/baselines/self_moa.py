"""Self-MoA (arXiv 2502.00674, section 3): several samples of the one best model, aggregated by the same model."""

from __future__ import annotations

from routemoa.core.events import Stopped
from routemoa.core.pool_file.pool import Pool
from routemoa.core.protocols import Client
from routemoa.core.tables.candidates import draw_again
from routemoa.core.text.plural import counted
from routemoa.mixture.answers.aggregator import write_answer
from routemoa.mixture.baselines.best_single import choose_best_model
from routemoa.mixture.baselines.steps import last_answers, run_proposers
from routemoa.mixture.layer import LayerRequest
from routemoa.mixture.method import BaseMethod
from routemoa.mixture.run import Run

__all__ = ["SelfMoA"]


class SelfMoA(BaseMethod):
    """`top_k` samples (at least two) of the best model; the paper takes six.

    Where the pool file fixes a temperature of the model above 0, that one is used.
    """

    def __init__(self, pool: Pool, client: Client) -> None:
        super().__init__("self-moa", client, pool.limits)
        self.best = choose_best_model(pool)
        self.count = max(2, pool.mixture.dense_panel)

    async def run(self, run: Run) -> None:
        """Run one layer of samples, then aggregate."""
        spec = self.best.spec
        samples = [draw_again(spec, i, run.query.parameters) for i in range(self.count)]
        await run_proposers(run, LayerRequest(1, run.query), samples)
        answers = last_answers(run.trace, [spec])
        if not answers:
            raise run.no_answer()
        run.emit(Stopped(f"{len(answers)} of {counted(self.count, 'sample')} of {spec.name}: {self.best.why}"))
        await write_answer(run, answers, [spec])
