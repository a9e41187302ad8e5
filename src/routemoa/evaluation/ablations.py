"""RouteMoA without one of its parts: the loss in accuracy is what the part is worth. Each ablation wraps a policy.

    no-scorer       every query has each model's mean prior: nothing depends on the query
    no-self         no model is asked for a score of its own answer
    no-cross        no model is asked for scores of the others' answers
    no-reranking    models are called in the order of the prior, whatever the answers say
    no-early-stop   layers run up to the limit of calls and layers
    no-aggregator   the leading answer is the final one: none is written from several

Live: `method = RouteMoA(...); method.policy = ablate(name, method.policy, means)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.errors import ConfigError
from routemoa.core.stop_reason import StopKind, StopReason
from routemoa.core.trace import Ranking, Trace
from routemoa.core.types import Query, Scores
from routemoa.routing.decision import Decision, failed_models, latest_answers
from routemoa.routing.latency import CallEstimates
from routemoa.routing.planning.panel_planner import ExpectedGain, PanelPlanner
from routemoa.routing.planning.ranking import select_models
from routemoa.routing.planning.stopping import LAYER_FAILED, NO_MODEL_LEFT
from routemoa.routing.policies.adaptive import AdaptivePolicy
from routemoa.routing.policies.published import PublishedPolicy
from routemoa.routing.policy import Policy
from routemoa.routing.state import PanelState

__all__ = ["ABLATIONS", "ablate"]

ABLATIONS = ("no-scorer", "no-self", "no-cross", "no-reranking", "no-early-stop", "no-aggregator")


def ablate(name: str, policy: Policy, means: Scores | None = None) -> Policy:
    """Return the policy without one part.

    Args:
        name: one of ABLATIONS.
        policy: of `build_policy`.
        means: each model's mean prior over all queries; only no-scorer needs it.

    Raises:
        ConfigError: there is no such ablation, or this policy lacks the part.
    """
    match name:
        case "no-scorer" if means:
            return NoScorer(policy, means)
        case "no-self" | "no-cross":
            return NoAssessment(policy, name.removeprefix("no-"))
        case "no-reranking":
            return NoReranking(policy, isinstance(policy, PublishedPolicy))
        case "no-early-stop" if isinstance(policy, AdaptivePolicy):
            return AdaptiveWithoutStop(policy.models, policy.mixture, policy.judge_model, policy.unscored_models)
        case "no-early-stop" if isinstance(policy, PublishedPolicy):
            return PublishedWithoutStop(policy.models, policy.mixture, policy.judge_model, policy.unscored_models)
        case "no-aggregator":
            return NoAggregator(policy)
    raise ConfigError(f"'{name}' cannot be taken from this policy; known: {', '.join(ABLATIONS)}")


class NoScorer(Struct, frozen=True):
    """Uses the models' mean priors for every query."""

    policy: Policy
    means: Mapping[str, float | None]

    def initial(self, predicted: Scores, estimates: CallEstimates, query: Query | None = None) -> Decision:
        """Decide from the means alone."""
        return self.policy.initial({m: self.means.get(m) for m in predicted}, estimates, query)

    def update(self, trace: Trace, estimates: CallEstimates, forced_stop: StopReason | None = None) -> Decision:
        """Decide as the inner policy does with the means as prior."""
        return self.policy.update(self._with_means(trace), estimates, forced_stop)

    def is_sufficient(self, trace: Trace, estimates: CallEstimates) -> bool:
        """Return whether the inner policy stops with the means as prior."""
        return self.policy.is_sufficient(self._with_means(trace), estimates)

    def _with_means(self, trace: Trace) -> Trace:
        return replace(trace, prior={m: self.means.get(m) for m in trace.prior})


class NoAssessment(Struct, frozen=True):
    """Requests no assessment of one kind, and ignores those that a reply holds all the same."""

    policy: Policy
    kind: str
    """One of "self" and "cross"."""

    def initial(self, predicted: Scores, estimates: CallEstimates, query: Query | None = None) -> Decision:
        """Decide as the inner policy does, without requesting this kind."""
        return self._without_request(self.policy.initial(predicted, estimates, query))

    def update(self, trace: Trace, estimates: CallEstimates, forced_stop: StopReason | None = None) -> Decision:
        """Decide from the other kind alone, without requesting this one."""
        return self._without_request(self.policy.update(self._without_kind(trace), estimates, forced_stop))

    def is_sufficient(self, trace: Trace, estimates: CallEstimates) -> bool:
        """Return whether the inner policy stops on the other kind alone."""
        return self.policy.is_sufficient(self._without_kind(trace), estimates)

    def _without_kind(self, trace: Trace) -> Trace:
        layers = tuple(
            replace(layer, assessments=tuple(a for a in layer.assessments if a.kind != self.kind))
            for layer in trace.layers
        )
        return replace(trace, layers=layers)

    def _without_request(self, decision: Decision) -> Decision:
        if self.kind == "self":
            options = replace(decision.options, self_assessment=False)
        else:
            options = replace(decision.options, cross_assessment=False)
        return replace(decision, options=options)


class NoReranking(Struct, frozen=True):
    """Calls as many models as the inner policy, in the order of the prior; the inner policy chooses the answer."""

    policy: Policy
    repeat_models: bool
    """Whether models that have answered are called again, as in the published loop."""

    def initial(self, predicted: Scores, estimates: CallEstimates, query: Query | None = None) -> Decision:
        """Decide as the inner policy does: its ranking is by the prior."""
        return self.policy.initial(predicted, estimates, query)

    def update(self, trace: Trace, estimates: CallEstimates, forced_stop: StopReason | None = None) -> Decision:
        """Decide as the inner policy does, with the next models by the prior."""
        decision = self.policy.update(trace, estimates, forced_stop)
        answered = set() if self.repeat_models else {p.model for p in latest_answers(trace)}
        excluded = failed_models(trace) | answered
        models = tuple(r.model for r in trace.ranking if r.model not in excluded)[: len(decision.models)]
        return replace(decision, models=models) if decision.stop is None else decision

    def is_sufficient(self, trace: Trace, estimates: CallEstimates) -> bool:
        """Return whether the inner policy stops."""
        return self.policy.is_sufficient(trace, estimates)


class NoAggregator(Struct, frozen=True):
    """Returns the leading answer instead of writing one."""

    policy: Policy

    def initial(self, predicted: Scores, estimates: CallEstimates, query: Query | None = None) -> Decision:
        """Decide as the inner policy does."""
        return self.policy.initial(predicted, estimates, query)

    def update(self, trace: Trace, estimates: CallEstimates, forced_stop: StopReason | None = None) -> Decision:
        """Decide as the inner policy does, without an aggregator."""
        return replace(self.policy.update(trace, estimates, forced_stop), aggregate=False)

    def is_sufficient(self, trace: Trace, estimates: CallEstimates) -> bool:
        """Return whether the inner policy stops."""
        return self.policy.is_sufficient(trace, estimates)


class AdaptiveWithoutStop(AdaptivePolicy, frozen=True):
    """Grows the panel to the limit, and never calls one model alone."""

    def _one_model_suffices(self, planner: PanelPlanner, ranking: Ranking, candidates: Sequence[str]) -> bool:
        return False

    def _stop_reason(
        self, trace: Trace, state: PanelState, candidates: Sequence[str], gain: ExpectedGain
    ) -> StopReason | None:
        mixture, count = self.mixture, len(state.proposals)
        if count and not trace.layers[-1].proposals:
            return LAYER_FAILED
        if not candidates:
            return NO_MODEL_LEFT
        if count >= mixture.max_models or len(trace.layers) >= mixture.max_layers:
            models = f"{count} of at most {mixture.max_models} models"
            layers = f"{len(trace.layers)} of {mixture.max_layers} layers"
            return StopReason(StopKind.OTHER, f"the limit: {models}, {layers}")
        return None

    def is_sufficient(self, trace: Trace, estimates: CallEstimates) -> bool:
        """Never."""
        return False


class PublishedWithoutStop(PublishedPolicy, frozen=True):
    """Runs every layer."""

    def update(self, trace: Trace, estimates: CallEstimates, forced_stop: StopReason | None = None) -> Decision:
        """Continue while a layer is left, the last one gave an answer and there are models to call."""
        decision = PublishedPolicy.update(self, trace, estimates, forced_stop)
        if forced_stop or decision.stop is None:
            return decision
        mixture, failed = self.mixture, failed_models(trace)
        if len(trace.layers) >= mixture.max_layers or not trace.layers[-1].proposals:
            return decision
        if not select_models(decision.ranking, mixture.max_layer_models, mixture.selection_margin, failed):
            return decision
        return self._call_next_layer(decision.scores, decision.ranking, len(trace.layers) + 1, failed)
