"""Plan a panel for one query: rank the models, order the candidates, estimate what further calls would add. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct

from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.trace import Ranking, Trace
from routemoa.core.types import USUAL_TOKENS, ModelSpec, Scores
from routemoa.judging.expected_gains import MAX_LOOKAHEAD, expected_gains
from routemoa.judging.judge_model import JudgeModel
from routemoa.judging.posterior import Posterior, probability_any_right
from routemoa.routing.decision import failed_models, skipped_models
from routemoa.routing.latency import CallEstimates
from routemoa.routing.planning.model_change import LostCache, keep_writer
from routemoa.routing.planning.ranking import RankingOptions, call_penalty, rank_models
from routemoa.routing.state import PanelState, TraceReader

__all__ = ["ExpectedGain", "Outlook", "Panel", "PanelPlanner", "call_penalties"]

MIN_GAIN = 1e-9
"""Of probability: less is no gain, however cheap the call."""


class ExpectedGain(Struct, frozen=True):
    """What further calls are expected to add to the probability of a right answer."""

    calls: int = 0
    """How many calls together add the most for each of them."""
    gain: float = 0.0
    """What these calls add together."""
    max_gain: float = 0.0
    """What all the calls that were considered add together."""
    pays: bool = False
    """Whether the gain is worth its calls."""


class Panel(Struct, frozen=True):
    """Models to call together."""

    models: tuple[str, ...]
    probability_any_right: float


class Outlook(Struct, frozen=True):
    """What a trace lets expect of further calls."""

    scores: Scores
    """P(right) of every model."""
    ranking: Ranking
    candidates: list[str]
    """Models that can still be called, the most promising first."""
    gain: ExpectedGain


class PanelPlanner(Struct, frozen=True):
    """What a policy knows of the models for one decision."""

    models: tuple[ModelSpec, ...]
    mixture: Mixture
    judge_model: JudgeModel
    """With the error correlation of this query."""
    unscored_models: frozenset[str]
    latency: Mapping[str, float]
    """Measured seconds of a call."""
    penalties: Mapping[str, float]
    """What a call of each model costs in probability; empty where the user sets no rates."""
    lost_cache: LostCache | None = None
    """What models cost more that did not read the conversation; None for a first turn."""
    vote_weight: float | None = None
    """What one more answer that agrees counts for in the look-ahead, as in the posterior; it counts the calls that the
    panel may still have, and no more. None looks further, at full weight."""

    @property
    def reader(self) -> TraceReader:
        """The reader of this query's traces."""
        return TraceReader(tuple(m.name for m in self.models), self.judge_model, self.mixture.assesses_in_words)

    def look_ahead(self, trace: Trace, state: PanelState, previous_order: Sequence[str] = ()) -> Outlook:
        """Rank the models by the posterior, and estimate what calls of those that are left would add."""
        failed = failed_models(trace)
        scores = self.reader.score_models(trace.prior, state)
        ranking = self.rank(scores, failed, previous_order, skipped_models(trace))
        candidates = self.order_candidates(ranking, {p.model for p in state.proposals}, failed)
        priors = self.reader.impute_priors(trace.prior)
        if self.vote_weight is None:
            gain = self.estimate_gain(state.posterior, candidates, priors)
        else:
            left = max(0, self.mixture.max_models - len(state.proposals))
            gain = self.estimate_gain(state.posterior, candidates[:left], priors, self.vote_weight)
        return Outlook(scores, ranking, candidates, gain)

    def rank(
        self,
        scores: Scores,
        failed: Collection[str] = (),
        previous_order: Sequence[str] = (),
        skipped: Collection[str] = (),
    ) -> Ranking:
        """Rank all models by what the user prefers."""
        preference = self.mixture.preference
        options = RankingOptions(
            latency=self.latency,
            failed=failed,
            skipped=skipped,
            tie=preference.tie,
            unscored_models=self.unscored_models,
            penalties=self.penalties,
            latency_first=preference.latency_first,
            previous_order=previous_order,
        )
        return rank_models(self.models, scores, options)

    def keep_writer(self, ranking: Ranking) -> tuple[Ranking, str]:
        """Return the ranking with the last turn's model first, unless a change pays, and why; "" for a first turn."""
        if self.lost_cache is None:
            return ranking, ""
        performance = next((r.performance for r in ranking if r.model == self.lost_cache.writer), 0.0)
        call_price = None if self.penalties else self._call_price(1.0 - performance)
        return keep_writer(ranking, self.lost_cache, call_price, self.penalties, self.mixture.preference.tie)

    def choose_first_panel(self, ranking: Ranking, candidates: Sequence[str]) -> Panel:
        """Return the smallest panel of the first model and candidates that reaches the user's `target`.

        It has two models at least, where the limits allow, and never more than a layer's or all models.
        """
        priors = {r.model: r.performance for r in ranking}
        max_size = min(self.mixture.max_layer_models, self.mixture.max_models)
        panel = [ranking[0].model]
        chance = probability_any_right([priors[m] for m in panel], self.judge_model.correlation)
        for model in candidates:
            if len(panel) >= max_size or (len(panel) > 1 and chance >= self.mixture.preference.target):
                break
            panel.append(model)
            chance = probability_any_right([priors[m] for m in panel], self.judge_model.correlation)
        return Panel(tuple(panel), chance)

    def estimate_gain(
        self, posterior: Posterior, candidates: Sequence[str], priors: Mapping[str, float], vote_weight: float = 1.0
    ) -> ExpectedGain:
        """Return what calls of the candidates, in their order, are expected to add, and whether that pays."""
        correlation = self.judge_model.correlation
        gains = expected_gains(posterior, [priors[m] for m in candidates], correlation, vote_weight)
        if not gains:
            return ExpectedGain()
        per_call = [gain / (i + 1) for i, gain in enumerate(gains)]
        best = max(range(len(per_call)), key=lambda i: (round(per_call[i], 12), -i))
        required = max(self._required_gain(candidates[: best + 1], posterior), MIN_GAIN)
        return ExpectedGain(best + 1, gains[best], gains[-1], pays=per_call[best] >= required)

    def _required_gain(self, models: Sequence[str], posterior: Posterior) -> float:
        """Return what each call of these models has to add to the probability of a right answer."""
        if not self.penalties:
            return self._call_price(1.0 - posterior.leader_probability)
        lost = self.lost_cache
        rereading = 0.0 if lost is None else sum(lost.prices.get(m, 0.0) for m in models)
        return (sum(self.penalties[m] for m in models) + rereading) / len(models)

    def _call_price(self, risk: float) -> float:
        """Return what a call has to add where the user sets no rates: a share of the risk of a wrong answer."""
        return self.mixture.preference.min_risk_reduction * risk

    def order_candidates(self, ranking: Ranking, answered: Collection[str], failed: Collection[str] = ()) -> list[str]:
        """Return the models that can still be called, the most promising first.

        They keep the ranking's order, but one whose errors correlate with those of a model that has answered, or that
        comes before it, promises only the part that is new. As in maximal marginal relevance, those that may be called
        next are chosen one by one; the others follow by what they promise after those.
        """
        performance = {r.model: r.performance for r in ranking if r.model not in answered and r.model not in failed}
        correlation = self.judge_model.correlation
        if not correlation.pairwise_error_correlation:
            return list(performance)
        promise = self._promise_by_rank(performance)
        related = correlation.related_models()

        def discount_related(model: str) -> None:
            for other, redundancy in related.get(model, ()):
                if other in promise:
                    new_part = performance[other] * (1.0 - redundancy) - self.penalties.get(other, 0.0)
                    promise[other] = min(promise[other], new_part)

        for model in answered:
            discount_related(model)
        placed: list[str] = []
        lookahead = max(MAX_LOOKAHEAD, self.mixture.max_layer_models)
        while promise and len(placed) < lookahead:
            best = max(promise, key=promise.__getitem__)
            del promise[best]
            placed.append(best)
            discount_related(best)
        return [*placed, *sorted(promise, key=promise.__getitem__, reverse=True)]

    def _promise_by_rank(self, performance: Mapping[str, float]) -> dict[str, float]:
        """Return each model's performance less its penalty, never more than that of a model ranked before it.

        So ordering by promise keeps the ranking, in which equals may stand by price or latency.
        """
        promise: dict[str, float] = {}
        lowest = math.inf
        for model, value in performance.items():
            lowest = min(lowest, value - self.penalties.get(model, 0.0))
            promise[model] = lowest
        return promise


def call_penalties(models: Sequence[ModelSpec], mixture: Mixture, estimates: CallEstimates) -> dict[str, float]:
    """Return what a call of each model costs in probability, at the user's rates; empty where there are none."""
    if mixture.dollars_per_point is None and mixture.seconds_per_point is None:
        return {}
    penalties: dict[str, float] = {}
    for spec in models:
        tokens = estimates.tokens.get(spec.name, USUAL_TOKENS)
        dollars = None if spec.output_price is None else tokens * spec.output_price / 1e6
        seconds = estimates.seconds.get(spec.name, spec.latency)
        penalties[spec.name] = call_penalty(dollars, seconds, mixture.dollars_per_point, mixture.seconds_per_point)
    return penalties
