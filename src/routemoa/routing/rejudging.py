"""Judge a trace again under another policy, without any call. Pure."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.trace import Layer, RankedModel, Ranking, Trace
from routemoa.core.types import ModelSpec, Scores
from routemoa.judging.judge_model import JudgeModel
from routemoa.routing.decision import Decision, last_layer_answers, latest_answers
from routemoa.routing.latency import CallEstimates
from routemoa.routing.policy import Policy, build_policy

__all__ = ["PolicyStep", "RejudgedTrace", "apply_policy", "models_of", "rejudge"]


class RejudgedTrace(Struct, frozen=True):
    """What a policy decides on a recorded trace."""

    choice: str | None
    """The model whose answer the policy gives."""
    text: str | None
    scores: Scores
    """The posterior."""
    stop_reason: str
    changed: bool
    """Whether the choice or the number of layers differs from the record."""
    layers: int
    """Layers that the policy needs."""
    calls: int
    """Proposals in those layers."""
    recorded: str | None
    """The choice of the record."""


class PolicyStep(Struct, frozen=True):
    """A trace extended by one layer, and the policy's decision on it."""

    trace: Trace
    decision: Decision


def apply_policy(policy: Policy, trace: Trace, layer: Layer) -> PolicyStep:
    """Extend a trace by a layer, with the policy's own scores and ranking in place of those recorded."""
    bare = replace(layer, scores={}, ranking=())
    decision = policy.update(replace(trace, layers=(*trace.layers, bare)), CallEstimates())
    judged = replace(bare, scores=decision.scores, ranking=decision.ranking)
    return PolicyStep(replace(trace, layers=(*trace.layers, judged)), decision)


def rejudge(trace: Trace, mixture: Mixture, judge_model: JudgeModel) -> RejudgedTrace:
    """Return what a policy decides on the recorded answers and judgments, layer by layer.

    Where the policy would continue beyond the record, it chooses among the recorded answers and its reason says so.
    """
    policy = build_policy(models_of(trace), mixture, judge_model, ())
    decision: Decision | None = None
    judged = replace(trace, layers=())
    for layer in trace.layers:
        step = apply_policy(policy, judged, layer)
        judged, decision = step.trace, step.decision
        if decision.stop is not None:
            break
    if decision is None:
        return RejudgedTrace(None, None, {}, "the trace holds no layer", False, 0, 0, None)
    choice = _leading_model(judged, decision.ranking) if decision.choice is None else decision.choice
    text = next((p.text for p in latest_answers(judged) if p.model == choice), None)
    recorded = _recorded_choice(trace)
    return RejudgedTrace(
        choice=choice,
        text=text,
        scores=decision.scores,
        stop_reason=str(decision.stop or "the record ends here: this policy would have asked further models"),
        changed=choice != recorded or len(judged.layers) != len(trace.layers),
        layers=len(judged.layers),
        calls=sum(len(layer.proposals) for layer in judged.layers),
        recorded=recorded,
    )


def _recorded_choice(trace: Trace) -> str | None:
    """Return the model whose answer was chosen, or led, when the trace was saved."""
    if trace.choice is not None:
        return trace.choice
    return _leading_model(trace, trace.layers[-1].ranking) if trace.layers else None


def _leading_model(trace: Trace, ranking: Ranking) -> str | None:
    answers = last_layer_answers(trace, ranking)
    return answers[0].model if answers else None


def models_of(trace: Trace) -> list[ModelSpec]:
    """Return the models of the trace: those ranked, with price and latency, then others that answered or failed."""
    ranked = {r.model: r for r in trace.ranking}
    names = [*ranked, *([] if ranked else trace.prior)]
    for layer in trace.layers:
        names += [*(p.model for p in layer.proposals), *(f.model for f in layer.failures)]
    return [_to_spec(name, ranked.get(name)) for name in dict.fromkeys(names)]


def _to_spec(name: str, ranked: RankedModel | None) -> ModelSpec:
    if ranked is None:
        return ModelSpec(name, "local", name)
    return ModelSpec(name, "local", name, output_price=ranked.cost, latency=ranked.latency)
