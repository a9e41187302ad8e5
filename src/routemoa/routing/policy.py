"""The interface of a policy: which models to call next and when to stop, decided from the trace and nothing else.

A policy is pure: the same trace gives the same decision. So a saved trace can be judged and ranked again under another
policy without any call (`routemoa judge replay`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Protocol

from routemoa.core.mixture_table import Mixture
from routemoa.core.trace import StopReason, Trace
from routemoa.core.types import ModelSpec, Scores
from routemoa.judging.judge_model import JudgeModel
from routemoa.routing.adaptive import AdaptivePolicy
from routemoa.routing.decision import Decision
from routemoa.routing.latency import CallEstimates
from routemoa.routing.published import PublishedPolicy
from routemoa.routing.tuned import TunedLoop

__all__ = ["Policy", "build_policy"]


class Policy(Protocol):
    """Decides from what is known of the models and what has happened."""

    def initial(self, predicted: Scores, estimates: CallEstimates) -> Decision:
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
    if mixture.tuned is not None:
        specs = tuple(models)
        mixture.tuned.check_models([m.name for m in specs], "the tuned policy")
        return TunedLoop(specs, mixture, judge_model, frozenset(unscored_models))
    kind = PublishedPolicy if mixture.published else AdaptivePolicy
    return kind(tuple(models), mixture, judge_model, frozenset(unscored_models))
