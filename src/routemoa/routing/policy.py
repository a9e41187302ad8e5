"""The interface of a policy: which models to call next and when to stop, decided from the trace and nothing else.

A policy is pure: the same trace gives the same decision. So a saved trace can be judged and ranked again under another
policy without any call (`routemoa judge replay`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import combinations
from typing import Protocol

from msgspec.structs import replace

from routemoa.core.stop_reason import StopReason
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.trace import Trace
from routemoa.core.types import ModelSpec, Query, Scores
from routemoa.judging.judge_model import JudgeModel
from routemoa.judging.posterior import ErrorCorrelation
from routemoa.routing.decision import Decision
from routemoa.routing.latency import CallEstimates
from routemoa.routing.policies.adaptive import AdaptivePolicy
from routemoa.routing.policies.published import PublishedPolicy
from routemoa.routing.policies.tuned import TunedLoop

__all__ = ["SAME_MEMBER_CORRELATION", "Policy", "build_policy", "relate_candidates"]

SAME_MEMBER_CORRELATION = 0.3
"""How far a sample adds nothing to the same answer of another sample of its model, until that is learned."""


class Policy(Protocol):
    """Decides from what is known of the models and what has happened."""

    def initial(self, predicted: Scores, estimates: CallEstimates, query: Query | None = None) -> Decision:
        """Return the models to call first, from the scorer's prediction alone."""
        ...

    def update(self, trace: Trace, estimates: CallEstimates, forced_stop: StopReason | None = None) -> Decision:
        """Return the scores and ranking after the last layer of `trace`, and the models to call next or why to stop.

        `forced_stop` says why no further layer can run, whatever the answers are.
        """
        ...

    def is_sufficient(self, trace: Trace, estimates: CallEstimates) -> bool:
        """Return whether the answers so far are enough, though other calls of their layer are still under way."""
        ...


def build_policy(
    models: Iterable[ModelSpec], mixture: Mixture, judge_model: JudgeModel, unscored_models: Collection[str]
) -> Policy:
    """Return the policy that `[mixture] policy` was tuned to, else the one that `fusion` names.

    Raises:
        ConfigError: the tuned policy was made for other models.
    """
    specs = tuple(models)
    if mixture.tuned is not None:
        mixture.tuned.check_models([m.name for m in specs], "the tuned policy")
        return TunedLoop(specs, mixture, judge_model, frozenset(unscored_models))
    known = replace(judge_model, correlation=relate_candidates(judge_model.correlation, specs))
    kind = PublishedPolicy if mixture.published else AdaptivePolicy
    return kind(specs, mixture, known, frozenset(unscored_models))


def relate_candidates(correlation: ErrorCorrelation, models: Sequence[ModelSpec]) -> ErrorCorrelation:
    """Return the error correlation with what candidates of one member share, where nothing was learned of a pair."""
    learned = correlation.pairwise_error_correlation
    related = {
        pair: SAME_MEMBER_CORRELATION
        for a, b in combinations(sorted((m for m in models if m.member), key=lambda m: m.name), 2)
        if a.member == b.member and (pair := f"{a.name}|{b.name}") not in learned
    }
    return replace(correlation, pairwise_error_correlation={**learned, **related}) if related else correlation
