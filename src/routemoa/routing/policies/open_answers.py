"""What is done with a question whose answers are texts that cannot confirm one another: `[mixture] open`. Pure.

    alone        the model with the best prior answers, and its text streams at once
    synthesize   a panel answers in one parallel round; the aggregator writes from the answers that differ. Where one
                 model leads by far, the panel is several answers of that model (Self-MoA, arXiv 2502.00674)
    select       a panel answers in one parallel round; a judge compares its answers in pairs, and the winner stands

Likeness of texts is no evidence: choosing by it never beat the best single model (-1.5 to +0.8 points on AlpacaEval 2).
So the order of the answers is that of the priors, and the panel does not grow by what its answers say.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, TypeGuard

from msgspec import Struct

from routemoa.core.stop_reason import StopKind, StopReason
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.text.plural import counted
from routemoa.core.trace import Proposal, Ranking, Trace
from routemoa.core.types import Query, Scores
from routemoa.judging.answers.grouping import group_answers
from routemoa.judging.answers.question_kind import QuestionKind, question_kind
from routemoa.judging.judge_model import JudgeModel
from routemoa.judging.pairwise import Contestant, KnockOut
from routemoa.routing.decision import Decision, LayerOptions, best_distinct_answers, failed_models, skipped_models
from routemoa.routing.planning.model_change import KEPT
from routemoa.routing.planning.panel_planner import PanelPlanner
from routemoa.routing.state import PanelState

__all__ = ["OpenAnswers", "OpenPolicy", "choose_open_policy", "open_panel", "order_by_prior", "plain_options"]


class OpenPolicy(Struct, frozen=True):
    """What is done with an open question, and why."""

    name: Literal["alone", "synthesize", "select"]
    reason: str
    """What the choice rests on, as a trace says it."""


def choose_open_policy(mixture: Mixture, judge_model: JudgeModel) -> OpenPolicy:
    """Return what is done with an open question.

    "auto" follows `prefer`: cheap and fast ask one model, quality lets the best member write from a panel. Balanced
    asks one model until `routemoa judge calibrate` has shown that another policy wins on this pool.
    """
    if mixture.open != "auto":
        return OpenPolicy(mixture.open, f'open = "{mixture.open}"')
    if mixture.prefer in ("cheap", "fast"):
        return OpenPolicy("alone", f'prefer = "{mixture.prefer}"')
    if mixture.prefer == "quality":
        return OpenPolicy("synthesize", 'prefer = "quality"')
    evidence = judge_model.open_evidence
    if evidence is None:
        return OpenPolicy("alone", "nothing measured says that another policy does better on this pool")
    if evidence.policy == "alone" or evidence.low <= 0.0:
        return OpenPolicy("alone", f"{evidence}: that is not worth the calls")
    return OpenPolicy(evidence.policy, str(evidence))


CHECKABLE = OpenPolicy("alone", "answers that can be checked lose by being written from several")
"""Under "auto", of a question that asks for a result or for code, where the answers cannot be compared after all: a
diverse team won .810 of its comparisons with a single model where a judge selected one of its answers, .179 where one
was written from them (arXiv 2603.20324)."""


FAR = 0.15
"""In prior: where the best model leads all others by more, its own samples are the better panel. Self-MoA beat the
mixture of six models by 6.6 points on AlpacaEval 2 (arXiv 2502.00674), where the best of them was 9 points ahead of the
next and 19 ahead of their mean; with members of a like level a mixture gains from what they know differently."""


class OpenAnswers(Struct, frozen=True):
    """Decides what is done with open questions."""

    mixture: Mixture
    judge_model: JudgeModel

    def policy(self, query: Query) -> OpenPolicy:
        """Return what is done with the open answers to a question, and why."""
        if self.mixture.open == "auto" and _read_kind(query) in ("code", "result"):
            return CHECKABLE
        return choose_open_policy(self.mixture, self.judge_model)

    def applies(self, query: Query, state: PanelState) -> bool:
        """Return whether answers cannot confirm one another: they state no results, or a text was asked for."""
        if self.mixture.later_layers == "refine" or query.tools is not None:
            return False
        if query.answer_format is not None:
            return not state.groups.closed
        return not state.groups.closed or _read_kind(query) == "open"

    def is_sufficient(self, trace: Trace, state: PanelState) -> bool:
        """Return whether other answers under way would not be used: the best model's is there, and no other counts."""
        best = next((r.model for r in trace.ranking if r.model not in failed_models(trace)), None)
        has_answered = any(p.model == best for p in state.proposals)
        return has_answered and self.policy(trace.query).name == "alone" and self._kind(trace.query) != "result"

    def decide_open(
        self, query: Query | None, predicted: Scores, ranking: Ranking, candidates: Sequence[str]
    ) -> Decision | None:
        """Return what is called first for a question that is open, or that does not tell where several would answer it.

        None where it asks for a result, or does not tell and may turn out to need one model: `take_first_look`. Of
        recorded questions with a result, 1 to 3 % do not tell; of AlpacaEval's, 21 %, which would take two rounds.
        """
        if not self._may_be_open(query) or (kind := self._kind(query)) == "result":
            return None
        policy, options = self.policy(query), plain_options(self.mixture)
        panel: tuple[str, ...] = (ranking[0].model,)
        seems = "open question" if kind == "open" else "a question that may be open"
        reason = f"{seems}, one model alone: {policy.reason}"
        if policy.name != "alone":
            panel = self._choose_panel(policy, query, ranking, candidates, ())
            reason = f"{seems}, {policy.name}: {policy.reason}{_explain_samples(panel)}"
        if policy.name == "select" and not self._can_select(panel, ranking):
            panel = panel[:1]
            reason = f"{seems}, one model alone: no verdict of a judge could displace its answer; {policy.reason}"
        if kind is None and len(panel) == 1:
            return None
        return Decision(predicted, ranking, panel, reason, options, samples=True, alone=len(panel) == 1)

    def take_first_look(self, query: Query | None, predicted: Scores, ranking: Ranking) -> Decision | None:
        """Return the call of one model, whose answer shows whether a question is open; None where that is not asked.

        It is for a question that does not tell, whose open answers would be those of one model.
        """
        if not self._may_be_open(query) or self._kind(query) is not None or self.policy(query).name != "alone":
            return None
        reason = "one model first: its answer shows whether the question has a result that others can confirm"
        alone = 1 in (self.mixture.max_models, self.mixture.max_layers)
        return Decision(predicted, ranking, (ranking[0].model,), reason, plain_options(self.mixture), alone=alone)

    def next_decision(
        self, trace: Trace, state: PanelState, planner: PanelPlanner, forced_stop: StopReason | None
    ) -> Decision:
        """Fill the panel in one round where the answers turned out to be open; else end as the open policy does."""
        policy = self.policy(trace.query)
        scores: Scores = {**planner.reader.impute_priors(trace.prior)}
        failed = failed_models(trace)
        ranking = planner.rank(scores, failed, [r.model for r in trace.ranking], skipped_models(trace))
        if forced_stop is None and (more := self._rest_of_panel(trace, state, planner, ranking)):
            reason = f"the answers are open, {policy.name}: {policy.reason}{_explain_samples(more)}"
            return Decision(scores, ranking, more, reason, plain_options(self.mixture), samples=True)
        final = self._final_answers(policy, trace, state, ranking)
        several = len(final) > 1
        return Decision(
            scores,
            ranking,
            stop=forced_stop or StopReason(StopKind.OPEN, _explain(policy, final, trace.ranking)),
            choice=final[0].model,
            final_answers=final,
            aggregate=several and policy.name == "synthesize",
            compare=several and policy.name == "select",
        )

    def _may_be_open(self, query: Query | None) -> TypeGuard[Query]:
        """Return whether there is a question without tools, whose answers may be open."""
        if query is None or query.tools is not None or self.mixture.later_layers == "refine":
            return False
        return bool(query.question.strip())

    def _can_select(self, panel: Sequence[str], ranking: Ranking) -> bool:
        """Return whether a judge could prefer another answer than the first one's, by the priors."""
        priors = {r.model: r.performance for r in ranking}
        contestants = [Contestant(priors[m], 1) for m in panel]
        return KnockOut(contestants, self.judge_model.pairwise_judge).next_pair() is not None

    def _kind(self, query: Query) -> QuestionKind | None:
        """Return what a question asks for; code counts as a text, unless it is run."""
        kind = _read_kind(query)
        return ("result" if self.mixture.run_code else "open") if kind == "code" else kind

    def _rest_of_panel(
        self, trace: Trace, state: PanelState, planner: PanelPlanner, ranking: Ranking
    ) -> tuple[str, ...]:
        """Return the models that complete the panel of a question that looked closed; none where it is complete."""
        planned = self._kind(trace.query) != "result"
        if planned or self.policy(trace.query).name == "alone" or len(trace.layers) >= min(2, self.mixture.max_layers):
            return ()
        answered = {p.model for p in state.proposals}
        candidates = planner.order_candidates(ranking, answered, failed_models(trace))
        return self._choose_panel(self.policy(trace.query), trace.query, ranking, candidates, answered)

    def _choose_panel(
        self,
        policy: OpenPolicy,
        query: Query,
        ranking: Ranking,
        candidates: Sequence[str],
        answered: Collection[str],
    ) -> tuple[str, ...]:
        """Return the models that answer in one round: the best ones, or one several times that leads by far."""
        panel = open_panel(ranking, candidates, self.mixture, answered)
        written = policy.name == "synthesize" and query.answer_format is None
        if written and len(panel) + len(answered) > 1 and leads_by_far(ranking, {*candidates, *answered}):
            return (ranking[0].model,) * len(panel)
        return tuple(panel)

    def _final_answers(
        self, policy: OpenPolicy, trace: Trace, state: PanelState, ranking: Ranking
    ) -> tuple[Proposal, ...]:
        """Return the answers that count, best prior first: one, or those that differ."""
        proposals, groups = state.proposals, state.groups.group_of
        given = tuple(p for layer in trace.layers for p in layer.proposals)
        if len(given) > len(proposals):  # several of one model
            proposals, groups = given, group_answers([p.text for p in given]).group_of
        answers = order_by_prior(proposals, ranking)
        if policy.name == "alone":
            return answers[:1]
        group = {id(p): g for p, g in zip(proposals, groups, strict=True)}
        order = [p.model for p in answers]
        distinct = best_distinct_answers(answers, [group[id(p)] for p in answers], order, self.mixture.reference_tokens)
        return (answers[0], *(p for p in distinct if p is not answers[0] and not p.refusal))


def _read_kind(query: Query) -> QuestionKind | None:
    """Return what the last turn asks for; where it does not tell, what it asks with the turns that it refers to."""
    return question_kind(query.question) or question_kind(query.asked)


def _explain(policy: OpenPolicy, final: Sequence[Proposal], ranking: Ranking) -> str:
    """Say how it ends, and what that rests on."""
    if len(final) == 1:
        is_kept = any(r.model == final[0].model and r.why == KEPT for r in ranking)
        standing = "which wrote the last one, too" if is_kept else "the best by its prior"
        return f"the answer of {final[0].model} stands, {standing}; {policy.reason}"
    does = "writes from" if policy.name == "synthesize" else "compares"
    return f"a model {does} {counted(len(final), 'answer')}; {policy.reason}"


def plain_options(mixture: Mixture) -> LayerOptions:
    """Return the options of a layer that is asked nothing but the question: its prompt is the caller's own."""
    return LayerOptions(self_assessment=not mixture.assesses_in_words)


def leads_by_far(ranking: Ranking, able: Collection[str]) -> bool:
    """Return whether the first model of a ranking is so much better than the other able ones that its own samples are
    the better panel; False where there are no others."""
    others = [r.performance for r in ranking[1:] if r.model in able]
    return bool(others) and ranking[0].performance - max(others) > FAR


def _explain_samples(panel: Sequence[str]) -> str:
    return f"; {panel[0]} leads by far, so its own answers are the panel" if len(set(panel)) < len(panel) else ""


def open_panel(ranking: Ranking, candidates: Sequence[str], mixture: Mixture, answered: Collection[str]) -> list[str]:
    """Return the models to call in one round, so that a panel of three (or `top_k`) has answered, best first.

    Args:
        ranking: of all models.
        candidates: those that can still be called, the most promising first, without the ranking's first.
        mixture: has the size of a panel.
        answered: models whose answers count.
    """
    size = min(mixture.dense_panel, mixture.max_models) - len(answered)
    first = [] if answered or not ranking else [ranking[0].model]
    return [*first, *(m for m in candidates if m not in first)][: max(0, size)]


def order_by_prior(proposals: Sequence[Proposal], ranking: Ranking) -> tuple[Proposal, ...]:
    """Return answers in the order of the ranking by prior: complete ones first, refusals last."""
    place = {r.model: i for i, r in enumerate(ranking)}
    return tuple(
        sorted(proposals, key=lambda p: (p.refusal, not p.is_complete, place.get(p.model, len(place)), p.text))
    )
