"""The policies: which models to call next and when to stop, decided from the trace so far and nothing else.

A policy is pure: the same trace gives the same decision. So a saved trace can be judged and ranked again under another
policy without any call (`routemoa judge replay`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Protocol

from msgspec import Struct

from routemoa.core.pool import Mixture
from routemoa.core.trace import Ranking, StopReason, Trace
from routemoa.core.types import ModelSpec, Scores
from routemoa.judging.answers.grouping import all_agree
from routemoa.judging.fusion import fuse_scores, map_prior
from routemoa.judging.judge_model import JudgeModel
from routemoa.routing.adaptive import AdaptivePolicy
from routemoa.routing.decision import Decision, LayerOptions, failed_models, last_layer_answers
from routemoa.routing.latency import CallEstimates
from routemoa.routing.ranking import RankingOptions, rank_models, select_models
from routemoa.routing.stopping import published_stop

__all__ = ["Policy", "build_policy"]


class Policy(Protocol):
    """Decides from what is known of the models and what has happened."""

    def initial(self, predicted: Scores, estimates: CallEstimates) -> Decision:
        """Return the models to call first, from the scorer's prediction alone."""
        ...

    def update(self, trace: Trace, estimates: CallEstimates, forced_stop: StopReason | None = None) -> Decision:
        """Return the scores and ranking after the last layer of `trace`, and the models to call next or why to stop.

        `forced_stop` says why no further layer can run, whatever the answers are.
        """
        ...

    def is_sufficient(self, trace: Trace, estimates: CallEstimates) -> bool:
        """Whether the answers so far are enough, though other calls of their layer are still under way."""
        ...


def build_policy(
    models: Iterable[ModelSpec], mixture: Mixture, judge_model: JudgeModel, unscored_models: Collection[str]
) -> Policy:
    """Return the policy that `[mixture] fusion` names."""
    kind = PublishedPolicy if mixture.published else AdaptivePolicy
    return kind(tuple(models), mixture, judge_model, frozenset(unscored_models))


class PublishedPolicy(Struct, frozen=True):
    """The loop as published (arXiv 2601.18130): map the prior, select, fuse, stop above a threshold, aggregate."""

    models: tuple[ModelSpec, ...]
    mixture: Mixture
    judge_model: JudgeModel
    """Not used: published judging has nothing to learn."""
    unscored_models: frozenset[str]

    def initial(self, predicted: Scores, estimates: CallEstimates) -> Decision:
        """Call the best few within the margin."""
        scores = map_prior(predicted)
        return self._call_next_layer(scores, self._rank(scores, estimates), 1, ())

    def is_sufficient(self, trace: Trace, estimates: CallEstimates) -> bool:
        """Return False: a layer of the published loop waits for all its calls."""
        return False

    def update(self, trace: Trace, estimates: CallEstimates, forced_stop: StopReason | None = None) -> Decision:
        """Fuse, rank, and stop when sure, agreed, at the last layer or without a model to call."""
        mixture, failed = self.mixture, failed_models(trace)
        scores = self._fuse_layers(trace)
        ranking = self._rank(scores, estimates, failed)
        stop = forced_stop or published_stop(
            trace.layers,
            scores,
            self._select(ranking, failed),
            threshold=mixture.confidence_threshold,
            max_layers=mixture.max_layers,
        )
        if stop is None:
            return self._call_next_layer(scores, ranking, len(trace.layers) + 1, failed)
        answers = last_layer_answers(trace, ranking)
        return Decision(
            scores,
            ranking,
            stop=stop,
            choice=answers[0].model if answers else None,
            final_answers=answers,
            aggregate=len(answers) > 1 and not all_agree([p.text for p in answers]),
        )

    def _fuse_layers(self, trace: Trace) -> Scores:
        """Return the scores after all layers, each fused with the mapped prior and the scores before it."""
        scores = prior = map_prior(trace.prior)
        for number in range(1, len(trace.layers) + 1):
            scores = fuse_scores(prior, scores, trace.layers[:number], self.mixture.fusion)
        return scores

    def _call_next_layer(self, scores: Scores, ranking: Ranking, number: int, failed: Collection[str]) -> Decision:
        mixture = self.mixture
        reason = f"at most {mixture.max_layer_models}"
        if mixture.selection_margin < 1:
            reason += f", within {mixture.selection_margin:g} of the best"
        # Self-scores in the first two layers, cross-scores in the second, answers only from the third on.
        options = LayerOptions(self_assessment=number <= 2, cross_assessment=number == 2, quote_answers=number > 1)
        models = self._select(ranking, failed)
        return Decision(scores, ranking, models=models, selection_reason=reason, options=options)

    def _select(self, ranking: Ranking, failed: Collection[str]) -> tuple[str, ...]:
        return select_models(ranking, self.mixture.max_layer_models, self.mixture.selection_margin, failed)

    def _rank(self, scores: Scores, estimates: CallEstimates, failed: Collection[str] = ()) -> Ranking:
        tie = self.mixture.preference.tie
        options = RankingOptions(estimates.seconds, failed, tie, self.unscored_models)
        return rank_models(self.models, scores, options)
