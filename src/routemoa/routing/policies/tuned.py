"""The policy that `routemoa tune` chose: one model, or a panel that asks on, from cheap to dear, while answers differ.

    estimates of the query   -> its group, the one with the nearest center
    draw of the query's text -> one of two neighbouring points of the hull, which has a plan for each group
    a plan with a rate       -> the model with the highest P(right) - rate * cost answers alone
    a plan with an order     -> the first two together, then one by one until enough agree, else the last, which stands

Pure. What the models said is compared as in the adaptive policy; no judge is asked and no aggregator writes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.errors import ConfigError
from routemoa.core.learned.cost_dial import draw_from_text
from routemoa.core.learned.tuned_policy import TunedPlan, TunedPolicy
from routemoa.core.stop_reason import StopKind, StopReason
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.text.plural import counted
from routemoa.core.trace import Proposal, RankedModel, Ranking, Trace
from routemoa.core.types import ModelSpec, Query, Scores
from routemoa.judging.judge_model import JudgeModel
from routemoa.judging.published_fusion import impute_missing
from routemoa.routing.decision import Decision, LayerOptions, failed_models, skipped_models
from routemoa.routing.latency import CallEstimates
from routemoa.routing.planning.ranking import RankingOptions, rank_models
from routemoa.routing.planning.stopping import LAYER_FAILED, NO_MODEL_LEFT
from routemoa.routing.state import PanelState, TraceReader

__all__ = ["TunedLoop"]

FIRST_MODELS = 2
"""Models that are asked together at first."""


class TunedLoop(Struct, frozen=True):
    """The policy of `[mixture] policy`."""

    models: tuple[ModelSpec, ...]
    mixture: Mixture
    judge_model: JudgeModel
    unscored_models: frozenset[str]

    def initial(self, predicted: Scores, estimates: CallEstimates, query: Query | None = None) -> Decision:
        """Call one model alone, or the first two of the panel."""
        plan = self._choose_plan(predicted, draw_from_text("" if query is None else query.text))
        ranking = self._rank(predicted, plan.order, estimates.unavailable, estimates.unavailable)
        left = [m for m in plan.order if m not in estimates.unavailable] or [ranking[0].model]
        early = left[:-1] if left[-1] == plan.order[-1] else left
        models = tuple(early[:FIRST_MODELS]) if len(early) >= plan.agree else (left[-1],)
        reason = f"tuned policy, {self._tuned.dial}: {plan}"
        options = LayerOptions(self_assessment=False)
        return Decision(predicted, ranking, models, reason, options, alone=len(models) == 1)

    def update(self, trace: Trace, estimates: CallEstimates, forced_stop: StopReason | None = None) -> Decision:
        """Stop where enough answers agree or the last stands, else call the next model of the order, or the last."""
        plan = self._choose_plan(trace.prior, draw_from_text(trace.query.text))
        state, failed = self._reader.read_panel(trace), failed_models(trace)
        scores = self._reader.score_models(trace.prior, state)
        ranking = self._rank(scores, plan.order, failed, skipped_models(trace))
        upcoming = _find_upcoming(plan, state, failed, ranking)
        stop = forced_stop or _stop_reason(plan, state, upcoming, trace)
        if stop is None and upcoming is not None:
            answered = counted(len(state.proposals), "answer")
            reason = f"tuned policy, {self._tuned.dial}: {_count_agreeing(state)} of {answered} agree"
            return Decision(scores, ranking, (upcoming,), reason, LayerOptions(self_assessment=False))
        answers = _order_answers(plan, state)
        choice = answers[0].model if answers else None
        return Decision(scores, ranking, stop=stop, choice=choice, final_answers=answers)

    def is_sufficient(self, trace: Trace, estimates: CallEstimates) -> bool:
        """Return whether enough answers agree, though other calls of their layer are still under way."""
        plan = self._choose_plan(trace.prior, draw_from_text(trace.query.text))
        return _count_agreeing(self._reader.read_panel(trace)) >= plan.agree

    @property
    def _tuned(self) -> TunedPolicy:
        if self.mixture.tuned is None:
            raise ConfigError("[mixture]: policy: the tuned policy has not been read")
        return self.mixture.tuned

    @property
    def _reader(self) -> TraceReader:
        return TraceReader(tuple(m.name for m in self.models), self.judge_model, verbalized=False)

    def _choose_plan(self, predicted: Scores, draw: float) -> TunedPlan:
        """Return the plan for a query, with an order: that of a rate is the one model that it chooses."""
        estimates = impute_missing(predicted, [m.name for m in self.models])
        plan = self._tuned.choose_plan(estimates, draw)
        if plan.rate is None:
            return plan
        rate, costs = plan.rate, self._tuned.costs
        return TunedPlan(order=(max(costs, key=lambda m: estimates[m] - rate * costs[m]),))

    def _rank(self, scores: Scores, order: Sequence[str], failed: Collection[str], skipped: Collection[str]) -> Ranking:
        """Rank the models of the order first, as they are asked; the others may only replace failed ones."""
        options = RankingOptions(failed=failed, skipped=skipped, unscored_models=self.unscored_models)
        ranked = {r.model: r for r in rank_models(self.models, scores, options)}
        first = [_explain(ranked[m], i) for i, m in enumerate(order) if m not in failed]
        return (*first, *(r for m, r in ranked.items() if m not in order or m in failed))


def _explain(model: RankedModel, place: int) -> RankedModel:
    why = "asked first" if place < FIRST_MODELS else "asked next, where too few agree"
    return replace(model, why=why)


def _agreeing_group(state: PanelState) -> int | None:
    """Return the largest group of equal answers, the first of equally large ones."""
    groups = dict.fromkeys(g for g in state.groups.group_of if g is not None)
    return max(groups, key=lambda g: len(state.groups.members(g)), default=None)


def _count_agreeing(state: PanelState) -> int:
    group = _agreeing_group(state)
    return 0 if group is None else len(state.groups.members(group))


def _find_upcoming(plan: TunedPlan, state: PanelState, failed: Collection[str], ranking: Ranking) -> str | None:
    """Return the model to ask next where too few agree: the next of the order, or its last where the rest is no use."""
    answered = {p.model for p in state.proposals}
    left = [m for m in plan.order if m not in answered and m not in failed]
    if not left:
        others = [r.model for r in ranking if r.model not in failed]
        return others[0] if not answered and others else None
    is_last_left = left[-1] == plan.order[-1]
    early = left[:-1] if is_last_left else left
    return early[0] if early and _count_agreeing(state) + len(early) >= plan.agree else left[-1]


def _stop_reason(plan: TunedPlan, state: PanelState, upcoming: str | None, trace: Trace) -> StopReason | None:
    """Return why no further model is asked; None where the next one is."""
    asked = [p.model for p in state.proposals]
    if len(asked) > 1 and _count_agreeing(state) >= plan.agree:
        group = _agreeing_group(state)
        supporters = () if group is None else state.supporters(group)
        return StopReason(StopKind.AGREED, f"{', '.join(supporters)} gave the same answer")
    if upcoming is not None and plan.order[-1] not in asked:
        return None
    if not asked:
        return LAYER_FAILED if trace.layers and not trace.layers[-1].proposals else NO_MODEL_LEFT
    if len(plan.order) == 1:
        return StopReason(StopKind.ONE_MODEL, f"{asked[0]} answers alone under the tuned policy")
    agreeing = f"{_count_agreeing(state)} of {counted(len(asked), 'answer')}"
    detail = f"{agreeing} agree, and that of {asked[-1]}, asked last, stands"
    return StopReason(StopKind.PANEL_COMPLETE, detail)


def _order_answers(plan: TunedPlan, state: PanelState) -> tuple[Proposal, ...]:
    """Return the answers, the one that stands first: of enough agreeing ones the first asked, else the last asked."""
    place = {m: i for i, m in enumerate(plan.order)}
    asked = sorted(state.proposals, key=lambda p: place.get(p.model, len(place)))
    group = _agreeing_group(state)
    if group is not None and _count_agreeing(state) >= plan.agree:
        agreeing = {state.proposals[i].model for i in state.groups.members(group)}
        return tuple(sorted(asked, key=lambda p: (p.model not in agreeing, not p.is_complete)))
    return tuple(sorted(asked, key=lambda p: (p.refusal, -place.get(p.model, len(place)))))
