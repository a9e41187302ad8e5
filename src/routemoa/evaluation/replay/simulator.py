"""Simulate a policy on a recorded question, without any call. Pure.

A called model gives its recorded answer, the same in every layer, or fails where none is recorded. Judgments are not
recorded; a `SimulatedJudge` may add them. No aggregator writes: its answer is counted as long as the leading one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.cost_dial import draw_from_text
from routemoa.core.failure_kind import FailureKind
from routemoa.core.mixture_table import Mixture
from routemoa.core.trace import Assessment, Failure, Layer, Proposal, Trace
from routemoa.core.types import Query, Scores, Usage
from routemoa.evaluation.rejudging import apply_policy
from routemoa.evaluation.replay.recorded import JudgedAnswer, SimulatedJudge
from routemoa.evaluation.replay.token_counts import CallTotals, ReplayQuestion, combine_parallel
from routemoa.mixture.prompts import ReplyFormat, candidate_labels, quoted_text
from routemoa.routing.decision import Decision, aggregator_models, latest_answers, quoted_answers, reserve_models
from routemoa.routing.latency import CallEstimates
from routemoa.routing.policy import Policy

__all__ = ["SimulatedRun", "simulate"]


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
) -> SimulatedRun:
    """Run a policy on one question as the engine does: a called model gives its recorded answer, or fails."""
    mixture = mixture or Mixture()
    query = Query.from_text(question.record.prompt or question.record.query)
    decision = policy.initial(prior, CallEstimates(draw=draw_from_text(query.text)))
    trace = Trace(query, "routemoa", prior, decision.ranking)
    totals = CallTotals()
    while decision.stop is None:
        layer, layer_totals = _simulate_layer(question, trace, decision, mixture, judge)
        step = apply_policy(policy, trace, layer)
        trace, decision, totals = step.trace, step.decision, totals + layer_totals
    trace = replace(trace, stop_reason=str(decision.stop), choice=decision.choice)
    if not decision.aggregate or decision.choice is None:
        return SimulatedRun(trace, decision, totals)
    aggregator = aggregator_models(trace, decision.ranking, mixture.aggregator)[0]
    quoted = [p.model for p in decision.final_answers]
    totals += question.count_aggregation(aggregator, quoted, decision.choice)
    return SimulatedRun(trace, decision, totals, aggregator)


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
    self_score = options.self_assessment and mixture.self_assessment == "spoken"
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
    return layer, combine_parallel(question.count_proposal(m, shown, reply_format) for m in called)


def _recorded_proposal(question: ReplayQuestion, model: str) -> Proposal:
    totals = question.count_proposal(model)
    usage = Usage(None, int(totals.completion_tokens))
    return Proposal(model, question.texts[model], usage, totals.seconds, totals.cost)


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
