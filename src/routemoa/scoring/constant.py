"""Who is likely to answer well, before anybody is called. The trained scorer comes in through the same protocol."""

from __future__ import annotations

from collections.abc import Sequence

from routemoa.core.pool import Pool
from routemoa.core.protocols import Scorer
from routemoa.core.types import ModelSpec, Query, Scores

__all__ = ["ConstantScorer", "load_scorer"]


class ConstantScorer:
    """Each model's `prior` from the pool file, whatever the query; None where the file gives none."""

    async def score(self, query: Query, pool: Sequence[ModelSpec]) -> Scores:
        """The prior of every model, in [0, 1]."""
        return {m.name: m.prior for m in pool}

    def knows(self, model: ModelSpec) -> bool:
        """True: nothing else is to be expected of it."""
        return True


def load_scorer(pool: Pool) -> Scorer:
    """The trained scorer that the pool file names, else the constant one. Raises ConfigError."""
    if pool.scorer is None:
        return ConstantScorer()
    from routemoa.scoring.trained import load_trained_scorer  # brings numpy

    return load_trained_scorer(pool.scorer)
