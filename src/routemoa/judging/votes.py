"""Choose which further votes of its models a query may have. Pure.

    Which gas do plants take in? A. oxygen B. carbon dioxide     the options in another order (`orders`)
    A train takes 3 hours for 240 km. How fast is it?            the same, drawn once more (`quality_samples`)
    Write a poem about a train.                                  none: two texts confirm nothing
    Write a function that counts trains.                         drawn once more, where code is run (`run_code`)

On some kinds of questions votes lose, and they cost tokens (docs/research/evaluation.md), so that only quality pays.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.types import ModelSpec, Query
from routemoa.judging.answers.question_kind import question_kind
from routemoa.judging.option_orders import reorder_query

__all__ = ["fit_candidates"]


def fit_candidates(models: Sequence[ModelSpec], query: Query, mixture: Mixture) -> tuple[ModelSpec, ...]:
    """Return the models that a query may be asked of: with further votes where quality is preferred.

    Args:
        models: of the pool.
        query: may have a preference of its own.
        mixture: has the pool's, and says whether code is run.
    """
    prefers_quality = (query.prefer or mixture.prefer) == "quality"
    return tuple(m for m in models if m.vote == 1 or (prefers_quality and _may_vote(query, m, mixture)))


def _may_vote(query: Query, vote: ModelSpec, mixture: Mixture) -> bool:
    """Return whether a query may have a vote: in another order of its options, else, for a result, drawn again."""
    if any(reorder_query(query, replace(vote, vote=n)) for n in range(2, vote.orders + 1)):
        return reorder_query(query, vote) is not None
    if vote.vote > vote.quality_samples or query.tools is not None or query.answer_format is not None:
        return False
    kind = question_kind(query.question)
    return kind in ("result", None) or (kind == "code" and mixture.run_code)
