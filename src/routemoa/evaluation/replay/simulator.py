"""Simulate a policy on a recorded question, without any call. Pure.

A called model gives its recorded answer, the same in every layer, or fails where none is recorded. Judgments are not
recorded; a `SimulatedJudge` may add them. No aggregator writes: its answer is counted as long as the leading one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.failure_kind import FailureKind
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.tools import ToolUse
from routemoa.core.trace import Assessment, Failure, Layer, Proposal, Trace
from routemoa.core.types import Query, Scores
from routemoa.core.usage import Usage
from routemoa.evaluation.replay.recorded import JudgedAnswer, SimulatedJudge
from routemoa.evaluation.replay.token_counts import CallTotals, ReplayQuestion, combine_parallel
from routemoa.judging.judge_model import PairwiseJudge
from routemoa.judging.pairwise import AnswerSelection, Verdict
from routemoa.mixture.prompts import ReplyFormat, candidate_labels, quoted_text
from routemoa.routing.decision import Decision, aggregator_models, latest_answers, quoted_answers, reserve_models
from routemoa.routing.latency import CallEstimates
from routemoa.routing.policy import Policy
from routemoa.routing.rejudging import apply_policy

__all__ = ["SimulatedComparer", "SimulatedRun", "simulate"]


class SimulatedComparer(Struct, frozen=True):
    """A judge that compares the answers of two models."""

    compare: Callable[[str, str], Verdict | None]
    """Two models -> which of their answers it prefers, where it is shown that of the first one first."""
    reliability: PairwiseJudge
    """How well it does, as the policy knows it."""


class SimulatedRun(Struct, frozen=True):
    """What a policy did on one question."""

    trace: Trace
    decision: Decision
    """The last one."""
    totals: CallTotals
    aggregator: str | None = None

    @property
    def panel(self) -> tuple[str, ...]:
        """The models that answered."""
        return tuple(p.model for p in latest_answers(self.trace))


def simulate(
    policy: Policy,
    prior: Scores,
    question: ReplayQuestion,
    mixture: Mixture | None = None,
    judge: SimulatedJudge | None = None,
    *,
    comparer: SimulatedComparer | None = None,
) -> SimulatedRun:
    """Run a policy on one question as the engine does: a called model gives its recorded answer, or fails.

    Args:
        policy: decides.
        prior: of every model.
        question: the recorded answers.
        mixture: as the policy has it.
        judge: judges answers in later layers.
        comparer: compares the answers to an open question; without it the one with the best prior is selected.
    """
    mixture = mixture or Mixture()
    query = Query.from_text(question.record.prompt or question.record.query)
    if question.tool_calls is not None:
        query = replace(query, tools=ToolUse(()))
    decision = policy.initial(prior, CallEstimates(), query)
    trace = Trace(query, "routemoa", prior, decision.ranking)
    totals = CallTotals()
    while decision.stop is None:
        layer, layer_totals = _simulate_layer(question, trace, decision, mixture, judge)
        step = apply_policy(policy, trace, layer)
        trace, decision, totals = step.trace, step.decision, totals + layer_totals
    trace = replace(trace, stop_reason=str(decision.stop), choice=decision.choice)
    if decision.compare and comparer is not None:
        trace, decision = _simulate_knockout(trace, decision, comparer)
        totals += CallTotals(calls=2 * len(trace.comparisons))
    if not decision.aggregate or decision.choice is None:
        return SimulatedRun(trace, decision, totals)
    aggregator = aggregator_models(trace, decision.ranking, mixture.aggregator)[0]
    quoted = [p.model for p in decision.final_answers]
    totals += question.count_aggregation(aggregator, quoted, decision.choice)
    return SimulatedRun(trace, decision, totals, aggregator)


def _simulate_knockout(trace: Trace, decision: Decision, comparer: SimulatedComparer) -> tuple[Trace, Decision]:
    """Return the trace with the comparisons of the final answers, and the decision with the winner first."""
    selection = AnswerSelection("simulated", decision.final_answers, trace.prior, comparer.reliability)
    comparisons = tuple(
        selection.record(comparer.compare(first.model, second.model), comparer.compare(second.model, first.model))
        for first, second in selection
    )
    choice = selection.answers[0].model
    trace = replace(trace, comparisons=comparisons, choice=choice)
    return trace, replace(decision, choice=choice, final_answers=selection.answers)


def _simulate_layer(
    question: ReplayQuestion, trace: Trace, decision: Decision, mixture: Mixture, judge: SimulatedJudge | None
) -> tuple[Layer, CallTotals]:
    """Return the next layer and what it takes. The next model of the ranking replaces one without an answer."""
    reserve = reserve_models(trace, decision, decision.models, repeat=mixture.published)
    called = list(decision.models)
    for model in called:  # the list grows while it is read
        if model not in question.texts and reserve:
            called.append(reserve.pop(0))
    answered = [m for m in called if m in question.texts]
    options = decision.options
    shown = [p.model for p in quoted_answers(trace, decision)]
    self_score = options.self_assessment and mixture.assesses_in_words
    reply_format = ReplyFormat(self_score, candidate_labels(len(shown)) if options.cross_assessment else ())
    assessments = [a for m in answered for a in _judge(question, m, shown, reply_format, judge)] if judge else []
    layer = Layer(
        decision.models,
        tuple(_recorded_proposal(question, m) for m in answered),
        tuple(_missing_answer(m) for m in called if m not in answered),
        tuple(assessments),
        why=decision.selection_reason,
        quoted={m: tuple(shown) for m in called} if shown else {},
    )
    answers = latest_answers(replace(trace, layers=(*trace.layers, layer)))
    layer = replace(layer, agreement=question.compare_code([p.model for p in answers]) if answers else None)
    return layer, combine_parallel(question.count_proposal(m, shown, reply_format) for m in called)


def _recorded_proposal(question: ReplayQuestion, model: str) -> Proposal:
    totals = question.count_proposal(model)
    usage = Usage(None, int(totals.completion_tokens))
    calls = (question.tool_calls or {}).get(model, ())
    return Proposal(model, question.texts[model], usage, totals.seconds, totals.cost, tool_calls=calls)


def _missing_answer(model: str) -> Failure:
    return Failure(model, "no answer is recorded", FailureKind.OTHER, Usage(), None, None)


def _judge(
    question: ReplayQuestion, model: str, shown: Sequence[str], reply_format: ReplyFormat, judge: SimulatedJudge
) -> Iterable[Assessment]:
    """Yield the judgments in a model's reply, as `RecordedClient` would add them."""
    record = question.record
    if reply_format.self_score:
        own = JudgedAnswer(model, question.texts[model], record.scores.get(model))
        yield Assessment(model, model, "self", judge.score(model, record.id, own))
    for peer in shown if reply_format.peers else ():
        if peer != model:
            answer = JudgedAnswer(peer, quoted_text(question.texts[peer]), record.scores.get(peer))
            yield Assessment(model, peer, "cross", judge.score(model, record.id, answer))
