"""Corrects a scorer by what was learned from feedback: shifts of each member's prior, in log-odds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar, runtime_checkable

from msgspec.structs import replace

from routemoa.core.learned.learned_priors import LearnedPriors
from routemoa.core.protocols import Scorer
from routemoa.core.tables.candidates import plain_name
from routemoa.core.types import ModelSpec, Query, Scores

__all__ = ["EDGE", "LearnedScorer", "TaskScorer", "classify", "correct_priors", "lend_to_votes", "shift_prior"]

T = TypeVar("T")

EDGE = 1e-4
"""A prior nearer to 0 or 1 than this is taken as this far away: its log-odds are finite."""


@runtime_checkable
class TaskScorer(Protocol):
    """A scorer that tells tasks apart."""

    async def classify(self, query: Query) -> Mapping[str, float]:
        """Return P(task | query) of each of its tasks."""
        ...


async def classify(scorer: Scorer, query: Query) -> Mapping[str, float]:
    """Return P(task | query) of each of a scorer's tasks; empty where it has none."""
    return await scorer.classify(query) if isinstance(scorer, TaskScorer) else {}


def shift_prior(prior: float, shift: float) -> float:
    """Return a probability with `shift` added to its log-odds; unchanged where the shift is 0."""
    if shift == 0.0:
        return prior
    held = min(max(prior, EDGE), 1.0 - EDGE)
    return 1.0 / (1.0 + math.exp(-(math.log(held / (1.0 - held)) + shift)))


def correct_priors(learned: LearnedPriors, scores: Scores, tasks: Mapping[str, float]) -> Scores:
    """Return priors of the scorer as they are after what was learned; `tasks` are P(task | query)."""
    return {
        name: learned.prior.get(name) if prior is None else shift_prior(prior, _find_shift(learned, name, tasks))
        for name, prior in scores.items()
    }


def _find_shift(learned: LearnedPriors, name: str, tasks: Mapping[str, float]) -> float:
    of_task = learned.tasks.get(name, {})
    return learned.shift.get(name, 0.0) + sum(of_task.get(task, 0.0) * p for task, p in tasks.items())


def lend_to_votes(learned: LearnedPriors, models: Iterable[ModelSpec]) -> LearnedPriors:
    """Return what was learned, of each model also for its further votes.

    They have the prior of their model, which its own answers teach.
    """
    plain = {m.name: plain_name(m) for m in models if m.vote > 1}

    def lend(part: Mapping[str, T]) -> dict[str, T]:
        return {**part, **{name: part[own] for name, own in plain.items() if own in part}}

    return replace(learned, shift=lend(learned.shift), prior=lend(learned.prior), tasks=lend(learned.tasks))


class LearnedScorer:
    """Another scorer's prior, shifted for each member; a member without a prior gets the one that was learned."""

    def __init__(self, scorer: Scorer, learned: LearnedPriors) -> None:
        self.scorer, self.learned = scorer, learned

    async def score(self, query: Query, pool: Sequence[ModelSpec]) -> Scores:
        """Return the prior of every model, in [0, 1]; None where it is unknown."""
        scores = await self.scorer.score(query, pool)
        return correct_priors(self.learned, scores, await classify(self.scorer, query) if self.learned.tasks else {})

    def knows(self, model: ModelSpec) -> bool:
        """Return whether a model's prior is predicted or was learned, rather than given by the pool file."""
        return model.name in self.learned.prior or self.scorer.knows(model)
