"""What to do next, decided from the trace so far and nothing else: the published loop, and ours that grows a panel.

A policy is pure: the same trace gives the same decision, so that a saved trace can be judged and ranked again under
another policy, at no model cost (`routemoa judge replay`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Protocol

from msgspec import Struct

from routemoa.core.pool import Mixture
from routemoa.core.trace import Ranking, Trace
from routemoa.core.types import ModelSpec, Scores
from routemoa.judging.answers.grouping import all_agree
from routemoa.judging.judge_model import JudgeModel
from routemoa.judging.fusion import fuse_scores, map_prior
from routemoa.routing.adaptive import AdaptivePolicy
from routemoa.routing.decision import Decision, LayerOptions, failed_models, last_layer_answers
from routemoa.routing.latency import CallEstimates
from routemoa.routing.ranking import rank_models, select_models
from routemoa.routing.stopping import published_stop

__all__ = ["Policy", "build_policy"]


class Policy(Protocol):
    """Decides from what is known of the models and what has happened."""

    def initial(self, predicted: Scores, estimates: CallEstimates) -> Decision:
        """Whom to call first, from the scorer's prediction alone."""
        ...

    def update(self, trace: Trace, estimates: CallEstimates, forced_stop: str | None = None) -> Decision:
        """What the last layer of `trace` changes: posterior, ranking, whom to call next or why to stop.

        `over` says why no further layer can run, whatever the answers are.
        """
        ...

    def is_sufficient(self, trace: Trace, estimates: CallEstimates) -> bool:
        """Whether the answers heard so far are enough, though others of their layer are still under way."""
        ...


def build_policy(
    models: Iterable[ModelSpec], mixture: Mixture, judge_model: JudgeModel, unscored_models: Collection[str]
) -> Policy:
    """The policy that `[mixture] fusion` names."""
    kind = PublishedPolicy if mixture.published else AdaptivePolicy
    return kind(tuple(models), mixture, judge_model, frozenset(unscored_models))


class PublishedPolicy(Struct, frozen=True):
    """The loop as published (arXiv 2601.18130): stretch, select, fuse, stop above a threshold, aggregate."""

    models: tuple[ModelSpec, ...]
    mixture: Mixture
    judge_model: JudgeModel
    unscored_models: frozenset[str]

    def initial(self, predicted: Scores, estimates: CallEstimates) -> Decision:
        """The best few within the margin."""
        scores = map_prior(predicted)
        ranking = self._rank(scores, estimates)
        return self._call_next_layer(scores, ranking, 1, ())

    def is_sufficient(self, trace: Trace, estimates: CallEstimates) -> bool:
        """Never: a layer of the published loop waits for all."""
        return False

    def update(self, trace: Trace, estimates: CallEstimates, forced_stop: str | None = None) -> Decision:
        """Fuse, rank anew, and stop when sure, agreed, at the last layer or without anybody left."""
        scores = prior = map_prior(trace.prior)
        for number in range(1, len(trace.layers) + 1):
            scores = fuse_scores(prior, scores, trace.layers[:number], self.mixture.fusion)
        out = failed_models(trace)
        ranking = self._rank(scores, estimates, out)
        upcoming = select_models(ranking, self.mixture.max_layer_models, self.mixture.selection_margin, out)
        m = self.mixture
        reason = forced_stop or published_stop(
            trace.layers, scores, upcoming, threshold=m.confidence_threshold, max_layers=m.max_layers
        )
        if reason is None:
            return self._call_next_layer(scores, ranking, len(trace.layers) + 1, out)
        given = last_layer_answers(trace, ranking)
        write = len(given) > 1 and not all_agree([p.text for p in given])
        choice = given[0].model if given else None
        return Decision(scores, ranking, stop=reason, choice=choice, final_answers=given, aggregate=write)

    def _call_next_layer(self, scores: Scores, ranking: Ranking, number: int, out: Collection[str]) -> Decision:
        m = self.mixture
        call = select_models(ranking, m.max_layer_models, m.selection_margin, out)
        why = f"at most {m.max_layer_models}" + (
            f", within {m.selection_margin:g} of the best" if m.selection_margin < 1 else ""
        )
        # Self-scores in the first two layers, cross-scores in the second, answers only from the third on.
        ask = LayerOptions(self_assessment=number <= 2, cross_assessment=number == 2, quote_answers=number > 1)
        return Decision(scores, ranking, models=call, selection_reason=why, options=ask)

    def _rank(self, scores: Scores, estimates: CallEstimates, out: Collection[str] = ()) -> Ranking:
        tie = self.mixture.preference.tie
        return rank_models(self.models, scores, estimates.seconds, out, tie=tie, unscored_models=self.unscored_models)
