"""The scorer of a pool without a trained one: each model's `prior` from the pool file."""

from __future__ import annotations

from collections.abc import Sequence

from routemoa.core.pool_file.pool import Pool
from routemoa.core.protocols import Scorer
from routemoa.core.types import ModelSpec, Query, Scores
from routemoa.scoring.learned import LearnedScorer, lend_to_votes

__all__ = ["ConstantScorer", "load_base_scorer", "load_scorer"]


class ConstantScorer:
    """Returns each model's `prior` from the pool file, whatever the query; None where the file gives none."""

    async def score(self, query: Query, pool: Sequence[ModelSpec]) -> Scores:
        """Return the prior of every model, in [0, 1]."""
        return {m.name: m.prior for m in pool}

    def knows(self, model: ModelSpec) -> bool:
        """Return True: the pool file is all that this scorer reads, so that no model is new to it."""
        return True


def load_scorer(pool: Pool) -> Scorer:
    """Return the scorer of a pool, corrected by what was learned from feedback. Raises ConfigError."""
    scorer = load_base_scorer(pool)
    return scorer if pool.learned is None else LearnedScorer(scorer, lend_to_votes(pool.learned, pool.models))


def load_base_scorer(pool: Pool) -> Scorer:
    """Return the trained scorer that the pool file names, else a `ConstantScorer`. Raises ConfigError."""
    if pool.scorer is None:
        return ConstantScorer()
    from routemoa.scoring.trained import load_trained_scorer  # imports numpy

    return load_trained_scorer(pool.scorer)
