"""What to do next, decided from the trace so far and nothing else: the published loop, and ours that grows a panel.

A policy is pure: the same trace gives the same decision, so that a saved trace can be judged and ranked again under
another policy, at no model cost (`routemoa judge replay`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Protocol

from msgspec import Struct

from routemoa.core.pool import Mixture
from routemoa.core.types import ModelSpec, Ranking, Scores, Trace
from routemoa.judging.answers.grouping import agree
from routemoa.judging.evidence import Judging
from routemoa.judging.fusion import posterior, stretch
from routemoa.routing.adaptive import Grown
from routemoa.routing.decision import Ask, Decision, failed, latest
from routemoa.routing.latency import Expected
from routemoa.routing.ranking import rank, select, stop_reason

__all__ = ["Policy", "policy_of"]


class Policy(Protocol):
    """Decides from what is known of the models and what has happened."""

    def opening(self, predicted: Scores, expected: Expected) -> Decision:
        """Whom to call first, from the scorer's prediction alone."""
        ...

    def judged(self, trace: Trace, expected: Expected, over: str | None = None) -> Decision:
        """What the last layer of `trace` changes: posterior, ranking, whom to call next or why to stop.

        `over` says why no further layer can run, whatever the answers are.
        """
        ...

    def suffices(self, trace: Trace, expected: Expected) -> bool:
        """Whether the answers heard so far are enough, though others of their layer are still under way."""
        ...


def policy_of(models: Iterable[ModelSpec], mixture: Mixture, judging: Judging, strangers: Collection[str]) -> Policy:
    """The policy that `[mixture] fusion` names."""
    kind = Published if mixture.published else Grown
    return kind(tuple(models), mixture, judging, frozenset(strangers))


class Published(Struct, frozen=True):
    """The loop as published (arXiv 2601.18130): stretch, select, fuse, stop above a threshold, aggregate."""

    models: tuple[ModelSpec, ...]
    mixture: Mixture
    judging: Judging
    strangers: frozenset[str]

    def opening(self, predicted: Scores, expected: Expected) -> Decision:
        """The best few within the margin."""
        scores = stretch(predicted)
        ranking = self._rank(scores, expected)
        return self._go_on(scores, ranking, 1, ())

    def suffices(self, trace: Trace, expected: Expected) -> bool:
        """Never: a layer of the published loop waits for all."""
        return False

    def judged(self, trace: Trace, expected: Expected, over: str | None = None) -> Decision:
        """Fuse, rank anew, and stop when sure, agreed, at the last layer or without anybody left."""
        scores = prior = stretch(trace.prior)
        for number in range(1, len(trace.layers) + 1):
            scores = posterior(prior, scores, trace.layers[:number], self.mixture.fusion)
        out = failed(trace)
        ranking = self._rank(scores, expected, out)
        upcoming = select(ranking, self.mixture.most_models, self.mixture.width, out)
        m = self.mixture
        reason = over or stop_reason(trace.layers, scores, upcoming, threshold=m.threshold, limit=m.most_layers)
        if reason is None:
            return self._go_on(scores, ranking, len(trace.layers) + 1, out)
        given = latest(trace, ranking)
        write = len(given) > 1 and not agree([p.text for p in given])
        choice = given[0].model if given else None
        return Decision(scores, ranking, stop=reason, choice=choice, final=given, write=write)

    def _go_on(self, scores: Scores, ranking: Ranking, number: int, out: Collection[str]) -> Decision:
        m = self.mixture
        call = select(ranking, m.most_models, m.width, out)
        why = f"at most {m.most_models}" + (f", within {m.width:g} of the best" if m.width < 1 else "")
        # Self-scores in the first two layers, cross-scores in the second, answers only from the third on.
        ask = Ask(judging=number <= 2, cross=number == 2, quote=number > 1)
        return Decision(scores, ranking, call=call, why=why, ask=ask)

    def _rank(self, scores: Scores, expected: Expected, out: Collection[str] = ()) -> Ranking:
        tie = self.mixture.preference.tie
        return rank(self.models, scores, expected.seconds, out, tie=tie, strangers=self.strangers)
