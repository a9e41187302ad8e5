"""Where a query stands: what its answers and judgments amount to, and how likely each model is right. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.trace import Proposal, Trace
from routemoa.core.types import Scores
from routemoa.judging.answers.grouping import Groups, group_answers
from routemoa.judging.evidence import Signals, collect_signals, signal_log_odds
from routemoa.judging.judge_model import JudgeModel
from routemoa.judging.fusion import impute_missing
from routemoa.judging.posterior import Posterior, Vote, infer, updated_priors
from routemoa.routing.decision import current_assessments, latest_answers, models_with_context

__all__ = ["HYSTERESIS_MARGIN", "PanelState", "TraceReader"]

HYSTERESIS_MARGIN = 0.02  # of probability: an answer that leads is displaced only by one that is better by more


class PanelState(Struct, frozen=True):
    """What is believed after some answers; `groups` and `proposals` go together."""

    proposals: tuple[Proposal, ...]
    groups: Groups
    signals: tuple[Signals, ...]
    posterior: Posterior
    leader: int | None  # a group

    def supporters(self, number: int) -> tuple[str, ...]:
        """The models that gave the answer of a group, in the order of their answers."""
        return tuple(self.proposals[i].model for i in self.groups.members(number))


class TraceReader(Struct, frozen=True):
    """Reads traces: `models` are the pool's names, `spoken` whether self-assessments are words or log-probabilities."""

    models: tuple[str, ...]
    judge_model: JudgeModel
    verbalized: bool

    def read_panel(self, trace: Trace) -> PanelState:
        """What the answers and judgments of a trace amount to."""
        proposals = latest_answers(trace)
        groups = group_answers([p.text for p in proposals])
        assessments = current_assessments(trace)
        models = [p.model for p in proposals]
        found = collect_signals(models, groups, assessments, self.judge_model)
        priors = self.priors(trace.prior)
        saw = models_with_context(trace)
        copied = self.judge_model.coefficients.informed_vote
        votes = [
            Vote(m, priors[m], g, copied if m in saw else 1.0) for m, g in zip(models, groups.group_of, strict=True)
        ]
        belief = infer(
            votes,
            self.judge_model.correlation,
            [signal_log_odds(f, self.judge_model, verbalized=self.verbalized) for f in found],
            vote_coefficient=self.judge_model.coefficients.votes,
            closed=groups.closed,
        )
        return PanelState(proposals, groups, found, belief, self._leader(trace, belief, proposals, groups))

    def _leader(self, trace: Trace, belief: Posterior, proposals: Sequence[Proposal], groups: Groups) -> int | None:
        """The group that leads; the one that led before the last layer keeps the lead against noise (hysteresis)."""
        best = belief.leader
        if best is None or len(trace.layers) < 2:
            return best
        before = self.read_panel(replace(trace, layers=trace.layers[:-1]))
        if before.leader is None:
            return best
        names = before.supporters(before.leader)
        led = next((g for p, g in zip(proposals, groups.group_of, strict=True) if p.model in names), None)
        return (
            best if led is None or belief.probabilities[best] - belief.probabilities[led] > HYSTERESIS_MARGIN else led
        )

    def priors(self, predicted: Scores) -> dict[str, float]:
        """The calibrated prior of every model, also of one that the scorer does not know."""
        return impute_missing(predicted, self.models)

    def scores(self, predicted: Scores, state: PanelState) -> Scores:
        """Each answer's probability; a model not heard is as likely right as this query's difficulty leaves it."""
        priors = self.priors(predicted)
        later = updated_priors(state.posterior, list(priors.values()), self.judge_model.correlation)
        scores: Scores = dict(zip(priors, later, strict=True))
        for proposal, number in zip(state.proposals, state.groups.group_of, strict=True):
            # An answer that states no result cannot be told right: as likely as that nobody else is.
            nobody = (1.0 - sum(state.posterior.probabilities)) / len(state.proposals)
            scores[proposal.model] = max(0.0, nobody) if number is None else state.posterior.probabilities[number]
        return scores
