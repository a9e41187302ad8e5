"""Choose which further votes of its models a query may have. Pure.

    Which gas do plants take in? A. oxygen B. carbon dioxide     the options in another order (`orders`)
    Write a function that counts trains.                         drawn once more, where code is run (`code_samples`)
    A train takes 3 hours for 240 km. How fast is it?            none: samples err alike

Elsewhere votes win nothing, and they cost tokens (docs/research/evaluation.md), so that only quality pays for them.
"""

from __future__ import annotations

from collections.abc import Sequence

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
    """Return whether a query may have a vote: in another order of its options, or drawn again for code that is run."""
    if reorder_query(query, vote) is not None:
        return True
    is_run = mixture.run_code and query.tools is None and query.answer_format is None
    return is_run and vote.vote <= vote.code_samples and question_kind(query.question) == "code"
