"""RouteMoA with one part taken away: what is lost is what the part was worth. Each is a policy around a policy.

    no-scorer       every query is met with each model's mean prior: nothing depends on the query
    no-self         nobody is asked how sure it is of its own answer
    no-cross        nobody is asked what it makes of the others' answers
    no-reranking    whom to call next follows the order of the prior, whatever the answers say
    no-early-stop   layers go on to the limit of calls and layers
    no-aggregator   the leading answer stands: nobody writes a new one

Live: `method = RouteMoA(...); method.policy = ablate(name, method.policy, means)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.errors import ConfigError
from routemoa.core.trace import Ranking, StopKind, StopReason, Trace
from routemoa.core.types import Scores
from routemoa.routing.adaptive import AdaptivePolicy
from routemoa.routing.decision import Decision, failed_models, latest_answers
from routemoa.routing.latency import CallEstimates
from routemoa.routing.panel_planner import ExpectedGain
from routemoa.routing.policy import Policy
from routemoa.routing.published import PublishedPolicy
from routemoa.routing.ranking import select_models
from routemoa.routing.state import PanelState
from routemoa.routing.stopping import LAYER_FAILED, NO_MODEL_LEFT

__all__ = ["ABLATIONS", "ablate"]

ABLATIONS = ("no-scorer", "no-self", "no-cross", "no-reranking", "no-early-stop", "no-aggregator")


def ablate(name: str, policy: Policy, means: Scores | None = None) -> Policy:
    """The policy without one part.

    Args:
        name: one of ABLATIONS.
        policy: of `policy_of`.
        means: each model's prior when nothing is known of the query; only no-scorer needs it.

    Raises:
        ConfigError: there is no such ablation, or it cannot be made of this policy.
    """
    match name:
        case "no-scorer" if means:
            return NoScorer(policy, means)
        case "no-self" | "no-cross":
            return NoAssessment(policy, name.removeprefix("no-"))
        case "no-reranking":
            return NoReranking(policy, isinstance(policy, PublishedPolicy))
        case "no-early-stop" if isinstance(policy, AdaptivePolicy):
            return AdaptiveToTheEnd(policy.models, policy.mixture, policy.judge_model, policy.unscored_models)
        case "no-early-stop" if isinstance(policy, PublishedPolicy):
            return PublishedToTheEnd(policy.models, policy.mixture, policy.judge_model, policy.unscored_models)
        case "no-aggregator":
            return NoAggregator(policy)
    raise ConfigError(f"'{name}' cannot be taken from this policy; known: {', '.join(ABLATIONS)}")


class NoScorer(Struct, frozen=True):
    """The means of the prior take its place."""

    policy: Policy
    means: Mapping[str, float | None]

    def initial(self, predicted: Scores, estimates: CallEstimates) -> Decision:
        """Who is called first, whatever the query."""
        return self.policy.initial({m: self.means.get(m) for m in predicted}, estimates)

    def update(self, trace: Trace, estimates: CallEstimates, forced_stop: StopReason | None = None) -> Decision:
        """The inner policy's, on a prior that says nothing of the query."""
        return self.policy.update(self._blind(trace), estimates, forced_stop)

    def is_sufficient(self, trace: Trace, estimates: CallEstimates) -> bool:
        """The inner policy's, likewise."""
        return self.policy.is_sufficient(self._blind(trace), estimates)

    def _blind(self, trace: Trace) -> Trace:
        return replace(trace, prior={m: self.means.get(m) for m in trace.prior})


class NoAssessment(Struct, frozen=True):
    """One kind of assessment, "self" or "cross", is never asked for, and not heard where it comes all the same."""

    policy: Policy
    kind: str

    def initial(self, predicted: Scores, estimates: CallEstimates) -> Decision:
        """The inner policy's, with less to ask."""
        return self._less(self.policy.initial(predicted, estimates))

    def update(self, trace: Trace, estimates: CallEstimates, forced_stop: StopReason | None = None) -> Decision:
        """The inner policy's, from the other kind alone, with less to ask."""
        return self._less(self.policy.update(self._deaf(trace), estimates, forced_stop))

    def is_sufficient(self, trace: Trace, estimates: CallEstimates) -> bool:
        """The inner policy's, likewise."""
        return self.policy.is_sufficient(self._deaf(trace), estimates)

    def _deaf(self, trace: Trace) -> Trace:
        layers = tuple(
            replace(done, assessments=tuple(a for a in done.assessments if a.kind != self.kind))
            for done in trace.layers
        )
        return replace(trace, layers=layers)

    def _less(self, decision: Decision) -> Decision:
        ask = (
            replace(decision.options, self_assessment=False)
            if self.kind == "self"
            else replace(decision.options, cross_assessment=False)
        )
        return replace(decision, options=ask)


class NoReranking(Struct, frozen=True):
    """As many models as the inner policy calls, in the order of the prior; the choice among answers is its own.

    `again`: whether models that have answered are called again, as in the published loop.
    """

    policy: Policy
    repeat_models: bool

    def initial(self, predicted: Scores, estimates: CallEstimates) -> Decision:
        """The inner policy's: this is the order that is kept."""
        return self.policy.initial(predicted, estimates)

    def update(self, trace: Trace, estimates: CallEstimates, forced_stop: StopReason | None = None) -> Decision:
        """The inner policy's, with others to call."""
        decision = self.policy.update(trace, estimates, forced_stop)
        out = failed_models(trace) | (set() if self.repeat_models else {p.model for p in latest_answers(trace)})
        call = tuple(r.model for r in trace.ranking if r.model not in out)[: len(decision.models)]
        return replace(decision, models=call) if decision.stop is None else decision

    def is_sufficient(self, trace: Trace, estimates: CallEstimates) -> bool:
        """The inner policy's."""
        return self.policy.is_sufficient(trace, estimates)


class NoAggregator(Struct, frozen=True):
    """The leading answer is the final one."""

    policy: Policy

    def initial(self, predicted: Scores, estimates: CallEstimates) -> Decision:
        """The inner policy's."""
        return self.policy.initial(predicted, estimates)

    def update(self, trace: Trace, estimates: CallEstimates, forced_stop: StopReason | None = None) -> Decision:
        """The inner policy's, with nothing to write."""
        return replace(self.policy.update(trace, estimates, forced_stop), aggregate=False)

    def is_sufficient(self, trace: Trace, estimates: CallEstimates) -> bool:
        """The inner policy's."""
        return self.policy.is_sufficient(trace, estimates)


class AdaptiveToTheEnd(AdaptivePolicy, frozen=True):
    """Grows to the limit, never one model alone."""

    def _one_model_suffices(self, planner: object, ranking: Ranking, candidates: object) -> bool:
        return False

    def _stop_reason(
        self, trace: Trace, state: PanelState, candidates: Sequence[str], gain: ExpectedGain
    ) -> StopReason | None:
        m, count = self.mixture, len(state.proposals)
        if count and not trace.layers[-1].proposals:
            return LAYER_FAILED
        if not candidates:
            return NO_MODEL_LEFT
        if count >= m.max_models or len(trace.layers) >= m.max_layers:
            detail = f"{count} of at most {m.max_models} models, {len(trace.layers)} of {m.max_layers} layers"
            return StopReason(StopKind.OTHER, f"the limit: {detail}")
        return None

    def is_sufficient(self, trace: Trace, estimates: CallEstimates) -> bool:
        """Never."""
        return False


class PublishedToTheEnd(PublishedPolicy, frozen=True):
    """Runs every layer."""

    def update(self, trace: Trace, estimates: CallEstimates, forced_stop: StopReason | None = None) -> Decision:
        """On, while there is a layer left, somebody to call and somebody who answers."""
        decision = PublishedPolicy.update(self, trace, estimates, forced_stop)
        m, out = self.mixture, failed_models(trace)
        left = len(trace.layers) < m.max_layers and trace.layers[-1].proposals
        if (
            forced_stop
            or decision.stop is None
            or not left
            or not select_models(decision.ranking, m.max_layer_models, m.selection_margin, out)
        ):
            return decision
        return self._call_next_layer(decision.scores, decision.ranking, len(trace.layers) + 1, out)
