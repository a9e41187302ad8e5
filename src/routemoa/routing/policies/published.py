"""The published policy: a panel of the best few in every layer, judgments in the first two layers. Pure."""

from __future__ import annotations

from collections.abc import Collection

from msgspec import Struct

from routemoa.core.stop_reason import StopReason
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.trace import Ranking, Trace
from routemoa.core.types import ModelSpec, Query, Scores
from routemoa.judging.answers.grouping import all_agree
from routemoa.judging.judge_model import JudgeModel
from routemoa.judging.published_fusion import fuse_scores, map_prior
from routemoa.routing.decision import Decision, LayerOptions, failed_models, last_layer_answers, skipped_models
from routemoa.routing.latency import CallEstimates
from routemoa.routing.planning.ranking import RankingOptions, rank_models, select_models
from routemoa.routing.planning.stopping import published_stop

__all__ = ["PublishedPolicy"]


class PublishedPolicy(Struct, frozen=True):
    """The loop as published (arXiv 2601.18130): map the prior, select, fuse, stop above a threshold, aggregate."""

    models: tuple[ModelSpec, ...]
    mixture: Mixture
    judge_model: JudgeModel
    """Not used: published judging has nothing to learn."""
    unscored_models: frozenset[str]

    def initial(self, predicted: Scores, estimates: CallEstimates, query: Query | None = None) -> Decision:
        """Call the best few within the margin."""
        scores, unavailable = map_prior(predicted), estimates.unavailable
        ranking = self._rank(scores, estimates, unavailable, unavailable)
        return self._call_next_layer(scores, ranking, 1, unavailable)

    def is_sufficient(self, trace: Trace, estimates: CallEstimates) -> bool:
        """Return False: a layer of the published loop waits for all its calls."""
        return False

    def update(self, trace: Trace, estimates: CallEstimates, forced_stop: StopReason | None = None) -> Decision:
        """Fuse, rank, and stop when sure, agreed, at the last layer or without a model to call."""
        mixture, failed = self.mixture, failed_models(trace)
        scores = self._fuse_layers(trace)
        ranking = self._rank(scores, estimates, failed, skipped_models(trace))
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
        alone = len(models) == 1 and 1 in (len(self.models), mixture.max_layers)
        return Decision(scores, ranking, models=models, selection_reason=reason, alone=alone, options=options)

    def _select(self, ranking: Ranking, failed: Collection[str]) -> tuple[str, ...]:
        return select_models(ranking, self.mixture.max_layer_models, self.mixture.selection_margin, failed)

    def _rank(
        self, scores: Scores, estimates: CallEstimates, failed: Collection[str], skipped: Collection[str]
    ) -> Ranking:
        tie = self.mixture.preference.tie
        options = RankingOptions(estimates.seconds, failed, skipped, tie, self.unscored_models)
        return rank_models(self.models, scores, options)
