"""Where a query stands: what its answers and judgments amount to, and how likely each model is right. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.types import Proposal, Scores, Trace
from routemoa.judging.answers.grouping import Groups, group
from routemoa.judging.evidence import Judging, Signals, log_odds, signals
from routemoa.judging.fusion import filled
from routemoa.judging.posterior import Belief, Vote, believe, outlook
from routemoa.routing.decision import heard, informed, judgments

__all__ = ["NOISE", "Reading", "State"]

NOISE = 0.02  # of probability: an answer that leads is displaced only by one that is better by more


class State(Struct, frozen=True):
    """What is believed after some answers; `groups` and `proposals` go together."""

    proposals: tuple[Proposal, ...]
    groups: Groups
    found: tuple[Signals, ...]
    belief: Belief
    leader: int | None  # a group

    def backing(self, number: int) -> tuple[str, ...]:
        """The models that gave the answer of a group, in the order of their answers."""
        return tuple(self.proposals[i].model for i in self.groups.members(number))


class Reading(Struct, frozen=True):
    """Reads traces: `models` are the pool's names, `spoken` whether self-assessments are words or log-probabilities."""

    models: tuple[str, ...]
    judging: Judging
    spoken: bool

    def state(self, trace: Trace) -> State:
        """What the answers and judgments of a trace amount to."""
        proposals = heard(trace)
        groups = group([p.text for p in proposals])
        assessments = judgments(trace)
        models = [p.model for p in proposals]
        found = signals(models, groups, assessments, self.judging)
        priors = self.priors(trace.prior)
        saw = informed(trace)
        copied = self.judging.coefficients.copied
        votes = [Vote(m, priors[m], g, copied if m in saw else 1.0) for m, g in zip(models, groups.of, strict=True)]
        belief = believe(
            votes,
            self.judging.correlation,
            [log_odds(f, self.judging, spoken=self.spoken) for f in found],
            trust=self.judging.coefficients.votes,
            closed=groups.closed,
        )
        return State(proposals, groups, found, belief, self._leader(trace, belief, proposals, groups))

    def _leader(self, trace: Trace, belief: Belief, proposals: Sequence[Proposal], groups: Groups) -> int | None:
        """The group that leads; the one that led before the last layer keeps the lead against noise (hysteresis)."""
        best = belief.leader
        if best is None or len(trace.layers) < 2:
            return best
        before = self.state(replace(trace, layers=trace.layers[:-1]))
        if before.leader is None:
            return best
        names = before.backing(before.leader)
        led = next((g for p, g in zip(proposals, groups.of, strict=True) if p.model in names), None)
        return best if led is None or belief.right[best] - belief.right[led] > NOISE else led

    def priors(self, predicted: Scores) -> dict[str, float]:
        """The calibrated prior of every model, also of one that the scorer does not know."""
        return filled(predicted, self.models)

    def scores(self, predicted: Scores, state: State) -> Scores:
        """Each answer's probability; a model not heard is as likely right as this query's difficulty leaves it."""
        priors = self.priors(predicted)
        later = outlook(state.belief, list(priors.values()), self.judging.correlation)
        scores: Scores = dict(zip(priors, later, strict=True))
        for proposal, number in zip(state.proposals, state.groups.of, strict=True):
            # An answer that states no result cannot be told right: as likely as that nobody else is.
            nobody = (1.0 - sum(state.belief.right)) / len(state.proposals)
            scores[proposal.model] = max(0.0, nobody) if number is None else state.belief.right[number]
        return scores
