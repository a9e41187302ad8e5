"""Why no further layer runs: the published rule and the adaptive policy's. Pure functions.

Source of the published rule: RouteMoA (arXiv 2601.18130), early stop. Both return None where the loop goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from routemoa.core.stop_reason import StopKind, StopReason
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.trace import Layer, Trace
from routemoa.judging.answers.grouping import all_agree
from routemoa.routing.planning.panel_planner import ExpectedGain
from routemoa.routing.state import PanelState

__all__ = ["LAYER_FAILED", "NO_MODEL_LEFT", "adaptive_stop", "published_stop"]

LAYER_FAILED = StopReason(StopKind.NO_ANSWER, "every model of the layer failed")
NO_MODEL_LEFT = StopReason(StopKind.NO_MODEL)


def published_stop(
    layers: Sequence[Layer],
    scores: Mapping[str, float | None],
    upcoming: Sequence[str],
    *,
    threshold: float,
    max_layers: int,
) -> StopReason | None:
    """Return why no further layer should run after the last of `layers`.

    Args:
        layers: at least one.
        scores: of every model; only one that has answered counts as sure, since a high prior is no answer.
        upcoming: the models that the next layer would call.
        threshold: the score above which an answer is sure.
        max_layers: of the loop.
    """
    answered = {p.model for layer in layers for p in layer.proposals}
    best = max(((score, m) for m in answered if (score := scores.get(m)) is not None), default=None)
    if best is not None:
        score, model = best
        if score > threshold:
            return _sure(model, score, threshold)
    last = layers[-1].proposals
    proposers = [p.model for p in last]
    if all_agree([p.text for p in last]):
        return StopReason(StopKind.AGREED, f"{', '.join(proposers)} gave the same answer")
    if len(layers) >= max_layers:
        return _last_layer(max_layers)
    if not upcoming:
        return NO_MODEL_LEFT
    if not proposers:
        return LAYER_FAILED
    if list(upcoming) == proposers and len(proposers) == 1:
        detail = f"only {proposers[0]} is worth calling, and it has answered"
        return StopReason(StopKind.NO_EVIDENCE, detail)
    return None


def adaptive_stop(
    trace: Trace, state: PanelState, candidates: Sequence[str], gain: ExpectedGain, mixture: Mixture
) -> StopReason | None:
    """Return why no further layer should run.

    Args:
        trace: what happened so far; it may hold no layer.
        state: what its answers and judgments amount to.
        candidates: models that could still be called.
        gain: what calls of them are expected to add.
        mixture: the limits of the loop.
    """
    count = len(state.proposals)
    threshold = mixture.confidence_threshold
    if count and not trace.layers[-1].proposals:
        return LAYER_FAILED
    if state.leader is not None and state.posterior.probabilities[state.leader] > threshold:
        models = ", ".join(state.supporters(state.leader))
        return _sure(models, state.posterior.probabilities[state.leader], threshold)
    if not candidates:
        return _not_worth_more(state, candidates, gain)
    if count >= mixture.max_models:
        detail = f"{count} of at most {mixture.max_models} models have answered"
        return StopReason(StopKind.PANEL_COMPLETE, detail)
    if len(trace.layers) >= mixture.max_layers:
        return _last_layer(mixture.max_layers)
    if count and not gain.pays:
        return _not_worth_more(state, candidates, gain)
    return None


def _not_worth_more(state: PanelState, candidates: Sequence[str], gain: ExpectedGain) -> StopReason:
    """Say that no model is left to call, or that another call is not expected to pay."""
    probability = state.posterior.leader_probability
    if len(state.proposals) == 1:
        if not candidates:
            return NO_MODEL_LEFT
        model = state.proposals[0].model
        detail = f"{model} at {probability:.2f} is expected to do as well as a mixture under this policy"
        return StopReason(StopKind.ONE_MODEL, detail)
    gain_text = f"further calls would add {100 * gain.max_gain:.1f} points to a probability of {probability:.2f}"
    supporters = () if state.leader is None else state.supporters(state.leader)
    if supporters and len(supporters) == len(state.proposals):
        return StopReason(StopKind.AGREED, f"{', '.join(supporters)} gave the same answer; {gain_text}")
    if not candidates:
        return NO_MODEL_LEFT
    return StopReason(StopKind.NO_EVIDENCE, f"{gain_text}, which is not worth them")


def _sure(models: str, probability: float, threshold: float) -> StopReason:
    return StopReason(StopKind.SURE, f"{models} at {probability:.3f} is above {threshold:g}")


def _last_layer(max_layers: int) -> StopReason:
    return StopReason(StopKind.LAST_LAYER, f"{max_layers} of {max_layers}")
