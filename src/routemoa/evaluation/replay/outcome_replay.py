"""Replay outcomes under other priors: which answer would the mixture have given, and what would it have cost?

A member that was not asked counts as one that failed, so that the next of the ranking is called in its place. That
makes priors look worse that ask for other members than those of the time. What is new may look worse than it is, but
not what it is compared with: an outcome says nothing where that would have asked for a member without an answer.
"""

from __future__ import annotations

from functools import reduce

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
        self._is_adaptive = pool.mixture.is_adaptive
        self._policy = build_policy(pool.models, pool.mixture, judge_model, ())

    def choose(self, outcome: Outcome, before: Scores, after: Scores) -> tuple[Choice | None, Choice | None] | None:
        """Return the answers that are given under two sets of priors; None where the outcome cannot be replayed.

        The first one is None where it is not known which answer would have been given.
        """
        trace, texts = outcome.trace, outcome.record.responses or {}
        if not self._is_adaptive or trace is None or trace.method != "routemoa" or trace.query.tools is not None:
            return None
        if any(p.model not in texts for layer in trace.layers for p in layer.proposals):
            return None
        return self._answer(outcome, before, is_whole=True), self._answer(outcome, after, is_whole=False)

    def _answer(self, outcome: Outcome, prior: Scores, *, is_whole: bool) -> Choice | None:
        trace = simulate(self._policy, prior, ReplayQuestion(outcome.record, prior), self._mixture).trace
        if trace.choice is None or (is_whole and any(layer.failures for layer in trace.layers)):
            return None
        costs = [(outcome.record.costs or {}).get(p.model) for layer in trace.layers for p in layer.proposals]
        return Choice(trace.choice, reduce(add_optional, costs))
