"""Replay outcomes under other priors: which answer would the mixture have given, and what would it have cost?

A member that did not answer counts as one that failed, so that the next of the ranking is called in its place.
"""

from __future__ import annotations

from routemoa.core.pool_file.pool import Pool
from routemoa.core.types import Scores
from routemoa.core.usage import add_optional
from routemoa.datasets.outcomes import Outcome
from routemoa.evaluation.replay.simulator import simulate
from routemoa.evaluation.replay.token_counts import ReplayQuestion
from routemoa.evaluation.shadow import Choice
from routemoa.judging.judge_model import JudgeModel
from routemoa.routing.policy import build_policy

__all__ = ["OutcomeReplay"]


class OutcomeReplay:
    """Answers the queries of outcomes again, from what their members said, without any call."""

    def __init__(self, pool: Pool, judge_model: JudgeModel) -> None:
        self._mixture = pool.mixture
        self._replays = not pool.mixture.published and pool.mixture.tuned is None
        self._policy = build_policy(pool.models, pool.mixture, judge_model, ())

    def choose(self, outcome: Outcome, before: Scores, after: Scores) -> tuple[Choice, Choice] | None:
        """Return the answers that are given under two sets of priors; None where the outcome cannot be replayed."""
        trace, texts = outcome.trace, outcome.record.responses or {}
        if not self._replays or trace is None or trace.method != "routemoa" or trace.query.tools is not None:
            return None
        if any(p.model not in texts for layer in trace.layers for p in layer.proposals):
            return None
        old, new = self._answer(outcome, before), self._answer(outcome, after)
        return None if old is None or new is None else (old, new)

    def _answer(self, outcome: Outcome, prior: Scores) -> Choice | None:
        run = simulate(self._policy, prior, ReplayQuestion(outcome.record, prior), self._mixture)
        if run.trace.choice is None:
            return None
        cost: float | None = 0.0
        for model in dict.fromkeys(p.model for layer in run.trace.layers for p in layer.proposals):
            cost = add_optional(cost, (outcome.record.costs or {}).get(model))
        return Choice(run.trace.choice, cost)
