"""The adaptive policy: start with the smallest promising panel, grow it on disagreement, stop when more would not pay.

    prior     -> first panel  one model alone where a mixture is not worth it (the gate), else the smallest panel that
                              reaches `target`
    answers   -> posterior    votes, self- and cross-assessments as one probability for each answer
    posterior -> next models  those likely right and unlike the ones that answered, while the expected gain pays

Pure.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.stop_reason import StopReason
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.trace import Proposal, Ranking, Trace
from routemoa.core.types import ModelSpec, Query, Scores
from routemoa.judging.judge_model import JudgeModel
from routemoa.judging.multiple_choice import count_options, limit_to_options
from routemoa.judging.posterior import Vote, infer
from routemoa.judging.votes import fit_candidates
from routemoa.routing.decision import Decision, LayerOptions, best_distinct_answers, failed_models, without_refusals
from routemoa.routing.latency import CallEstimates
from routemoa.routing.planning.model_change import find_lost_cache
from routemoa.routing.planning.panel_planner import ExpectedGain, Outlook, PanelPlanner, call_penalties
from routemoa.routing.planning.stopping import adaptive_stop
from routemoa.routing.policies.open_answers import OpenAnswers, plain_options
from routemoa.routing.policies.tool_panel import call_vote_weight, judge_calls, mix_calls
from routemoa.routing.state import HYSTERESIS_MARGIN, PanelState

__all__ = ["AdaptivePolicy"]


class AdaptivePolicy(Struct, frozen=True):
    """The policy of `fusion = "adaptive"`."""

    models: tuple[ModelSpec, ...]
    mixture: Mixture
    judge_model: JudgeModel
    unscored_models: frozenset[str]

    def initial(self, predicted: Scores, estimates: CallEstimates, query: Query | None = None) -> Decision:
        """Call one model alone, or the smallest panel that holds a right answer with probability `target`."""
        if query is not None and (policy := self._fit_to(query)) is not self:
            return policy.initial(predicted, estimates, query)
        unavailable = estimates.unavailable
        planner = self._make_planner(self.judge_model, estimates, query, unavailable)
        ranking, kept = planner.keep_writer(planner.rank(predicted, unavailable, skipped=unavailable))
        decision = self._choose_first_models(planner, predicted, ranking, query, unavailable)
        return replace(decision, selection_reason=f"{decision.selection_reason}; {kept}") if kept else decision

    def _choose_first_models(
        self,
        planner: PanelPlanner,
        predicted: Scores,
        ranking: Ranking,
        query: Query | None,
        unavailable: Collection[str],
    ) -> Decision:
        """Return the first layer: the open question's, the gate's one model, or the smallest promising panel."""
        first = ranking[0]
        candidates = planner.order_candidates(ranking, answered=(first.model,), failed=unavailable)
        if (decision := self._open_answers.decide_open(query, predicted, ranking, candidates)) is not None:
            return decision
        if self._one_model_suffices(planner, ranking, candidates):
            reason = f"one model alone: {first.performance:.2f} likely right, and another call is not expected to pay"
            return Decision(predicted, ranking, (first.model,), reason, plain_options(self.mixture), alone=True)
        if (decision := self._open_answers.take_first_look(query, predicted, ranking)) is not None:
            return decision
        panel = planner.choose_first_panel(ranking, candidates)
        chance = panel.probability_any_right
        reason = f"the smallest promising panel: one of them is right with probability {chance:.2f}"
        alone = len(panel.models) == 1 and 1 in (self.mixture.max_models, self.mixture.max_layers)
        return Decision(
            predicted, ranking, panel.models, reason, LayerOptions(self._self_assessments_count), alone=alone
        )

    def update(self, trace: Trace, estimates: CallEstimates, forced_stop: StopReason | None = None) -> Decision:
        """Infer the posterior of every answer, and call more models where that is expected to pay."""
        if (policy := self._fit_to(trace.query)) is not self:
            return policy.update(trace, estimates, forced_stop)
        planner = self._make_trace_planner(trace, estimates)
        state = planner.reader.read_panel(trace)
        if state.proposals and self._open_answers.applies(trace.query, state):
            return self._open_answers.next_decision(trace, state, planner, forced_stop)
        ranking_before = trace.layers[-2].ranking if len(trace.layers) > 1 else trace.ranking
        outlook = planner.look_ahead(trace, state, [r.model for r in ranking_before])
        if self._first_choice_stands(trace, state, planner):
            outlook = replace(outlook, gain=replace(outlook.gain, pays=False))
        stop = forced_stop or self._stop_reason(trace, state, outlook.candidates, outlook.gain)
        return self._call_more(trace, state, outlook) if stop is None else self._stop(state, outlook, stop)

    def is_sufficient(self, trace: Trace, estimates: CallEstimates) -> bool:
        """Return whether an answer is sure, or no further one is expected to pay, not even of the calls under way."""
        if (policy := self._fit_to(trace.query)) is not self:
            return policy.is_sufficient(trace, estimates)
        planner = self._make_trace_planner(trace, estimates)
        state = planner.reader.read_panel(trace)
        if state.leader is None:
            return False
        if self._open_answers.applies(trace.query, state):
            return self._open_answers.is_sufficient(trace, state)
        if state.posterior.probabilities[state.leader] > self.mixture.confidence_threshold:
            return True
        return not planner.look_ahead(trace, state).gain.pays

    def read_panel(self, trace: Trace) -> PanelState:
        """Return what the answers and judgments of a trace amount to."""
        return self._make_planner(self.judge_model, CallEstimates()).reader.read_panel(trace)

    def _fit_to(self, query: Query) -> AdaptivePolicy:
        """Return the policy for a query: with its own trade-off, the candidates that it can be asked of and, where it
        offers tools, a smaller panel that is sure sooner."""
        prefer = self.mixture.prefer if query.prefer is None else query.prefer
        mixture = self.mixture if prefer == self.mixture.prefer else replace(self.mixture, prefer=prefer)
        mixture = mixture if query.tools is None else mix_calls(mixture)
        models = fit_candidates(self.models, query, mixture)
        if mixture == self.mixture and len(models) == len(self.models):
            return self
        judge_model = self.judge_model if query.tools is None else judge_calls(self.judge_model)
        return replace(self, models=models, mixture=mixture, judge_model=judge_model)

    def _adapt_judge_model(self, query: Query) -> JudgeModel:
        """Return the judge model for a query: of a multiple choice, wrong answers coincide at least by chance."""
        if (options := count_options(query.text)) is None:
            return self.judge_model
        known = self.judge_model.coefficients
        coefficients = replace(known, votes=min(known.votes, known.option_votes))
        correlation = limit_to_options(self.judge_model.correlation, options)
        return replace(self.judge_model, correlation=correlation, coefficients=coefficients)

    @property
    def _open_answers(self) -> OpenAnswers:
        return OpenAnswers(self.mixture, self.judge_model)

    @property
    def _self_assessments_count(self) -> bool:
        """Return whether self-assessments are asked for: token probabilities are free; words cost tokens, and those of
        small models say nothing, so that they are asked for where the judge file knows better, or on request."""
        if not self.mixture.assesses_in_words:
            return True
        known = any(judge.weight > 0.0 for judge in self.judge_model.self_judges.values())
        return self.judge_model.coefficients.verbalized != 0 and (known or self.mixture.self_assessment == "spoken")

    def _make_trace_planner(self, trace: Trace, estimates: CallEstimates) -> PanelPlanner:
        judge_model = self._adapt_judge_model(trace.query)
        return self._make_planner(judge_model, estimates, trace.query, failed_models(trace))

    def _make_planner(
        self,
        judge_model: JudgeModel,
        estimates: CallEstimates,
        query: Query | None = None,
        unavailable: Collection[str] = (),
    ) -> PanelPlanner:
        return PanelPlanner(
            self.models,
            self.mixture,
            judge_model,
            self.unscored_models,
            estimates.seconds,
            call_penalties(self.models, self.mixture, estimates),
            find_lost_cache(self.models, self.mixture, estimates, query, unavailable),
            None if query is None or query.tools is None else call_vote_weight(self.mixture, judge_model),
        )

    # The gate: one model alone where a mixture is not worth it.

    def _one_model_suffices(self, planner: PanelPlanner, ranking: Ranking, candidates: Sequence[str]) -> bool:
        """Return whether calls of candidates are not expected to improve on the first model of a ranking by priors."""
        first = ranking[0]
        alone = infer([Vote(first.model, first.performance, 0)], planner.judge_model.correlation)
        priors = {r.model: r.performance for r in ranking}
        return not planner.estimate_gain(alone, candidates, priors).pays

    def _first_choice_stands(self, trace: Trace, state: PanelState, planner: PanelPlanner) -> bool:
        """Return whether only the gate's one model has answered, and its answer gives no reason to decide otherwise."""
        first = trace.ranking[0] if trace.ranking else None
        if first is None or len(state.proposals) != 1 or state.proposals[0].model != first.model:
            return False
        if state.posterior.leader_probability < first.performance - HYSTERESIS_MARGIN:
            return False
        candidates = planner.order_candidates(trace.ranking, answered=(first.model,), failed=failed_models(trace))
        return self._one_model_suffices(planner, trace.ranking, candidates)

    # What comes next.

    def _stop_reason(
        self, trace: Trace, state: PanelState, candidates: Sequence[str], gain: ExpectedGain
    ) -> StopReason | None:
        """Return why the loop ends, None where it goes on; an ablation replaces this."""
        return adaptive_stop(trace, state, candidates, gain, self.mixture)

    def _stop(self, state: PanelState, outlook: Outlook, reason: StopReason) -> Decision:
        answers = self._order_final_answers(state, outlook.ranking)
        return Decision(
            outlook.scores,
            outlook.ranking,
            stop=reason,
            choice=answers[0].model if answers else None,
            final_answers=answers,
            aggregate=not state.groups.closed and len(answers) > 1,  # a closed question's best answer stands
        )

    def _call_more(self, trace: Trace, state: PanelState, outlook: Outlook) -> Decision:
        gain, probability = outlook.gain, state.posterior.leader_probability
        answers = self._order_final_answers(state, outlook.ranking)
        independent = self._answers_stay_independent(state)
        return Decision(
            outlook.scores,
            outlook.ranking,
            self._choose_next_models(trace, state, outlook),
            f"{gain.calls} more would add {100 * gain.gain:.1f} points to a probability of {probability:.2f}",
            LayerOptions(self._self_assessments_count, cross_assessment=not independent, quote_answers=not independent),
            choice=answers[0].model if answers else None,
            references=() if independent else self._choose_references(state, outlook.ranking),
        )

    def _choose_next_models(self, trace: Trace, state: PanelState, outlook: Outlook) -> tuple[str, ...]:
        """Return one model, or several where few layers are left for the calls that are wanted."""
        layers_left = max(1, self.mixture.max_layers - len(trace.layers))
        max_count = min(self.mixture.max_models - len(state.proposals), self.mixture.max_layer_models)
        wanted = math.ceil(outlook.gain.calls / layers_left)
        return tuple(outlook.candidates[: max(1, min(wanted, max_count))])

    def _answers_stay_independent(self, state: PanelState) -> bool:
        """Return whether the next models answer without seeing the others, so that agreement stays evidence."""
        return self.mixture.later_layers == "fresh" or (self.mixture.later_layers == "auto" and state.groups.closed)

    def _choose_references(self, state: PanelState, ranking: Ranking) -> tuple[Proposal, ...]:
        """Return the answers that the next layer or the aggregator is shown, best first."""
        order = [r.model for r in ranking]
        if self.mixture.references == "all":
            place = {model: i for i, model in enumerate(order)}
            return tuple(sorted(without_refusals(state.proposals), key=lambda p: place[p.model]))
        return best_distinct_answers(state.proposals, state.groups.group_of, order, self.mixture.reference_tokens)

    def _order_final_answers(self, state: PanelState, ranking: Ranking) -> tuple[Proposal, ...]:
        """Return the answers to write the final one from, the leading group's best first: complete, then by rank."""
        if not state.proposals:
            return ()
        place = {r.model: i for i, r in enumerate(ranking)}
        leading = range(len(state.proposals)) if state.leader is None else state.groups.members(state.leader)
        best = min((state.proposals[i] for i in leading), key=lambda p: (not p.is_complete, place[p.model]))
        return (best, *(p for p in self._choose_references(state, ranking) if p.model != best.model))
