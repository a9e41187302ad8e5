"""Where a query stands: what its answers and judgments amount to, and how likely each model is right. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.trace import Proposal, Trace
from routemoa.core.types import Query, Scores
from routemoa.judging.answers.grouping import Groups, group_answers, group_run_code
from routemoa.judging.answers.json_answers import group_json
from routemoa.judging.answers.tool_calls import group_calls
from routemoa.judging.difficulty import shift_prior
from routemoa.judging.evidence import collect_signals, signal_log_odds
from routemoa.judging.judge_model import JudgeModel
from routemoa.judging.multiple_choice import read_option_texts
from routemoa.judging.posterior import Posterior, Vote, infer, updated_priors
from routemoa.judging.published_fusion import impute_missing
from routemoa.routing.decision import current_assessments, latest_answers, models_with_context

__all__ = ["HYSTERESIS_MARGIN", "PanelState", "TraceReader", "group_answers_to", "group_panel", "group_proposals"]

LAPSE = 0.01
"""How often an answer that must be right is not: it is read wrongly, or its question is. In what is shown, not in what
further calls are expected to add, where it would count as a chance that they could take."""
HYSTERESIS_MARGIN = 0.02
"""Of probability: an answer that leads is displaced only by one that is better by more than this."""


class PanelState(Struct, frozen=True):
    """What the answers and judgments so far amount to."""

    proposals: tuple[Proposal, ...]
    """Each model's latest answer."""
    groups: Groups
    """Of the proposals."""
    posterior: Posterior
    leader: int | None
    """The group that leads; None where no answer states anything."""

    def supporters(self, group: int) -> tuple[str, ...]:
        """Return the models that gave the answer of a group, in the order of their answers."""
        return tuple(self.proposals[i].model for i in self.groups.members(group))


class TraceReader(Struct, frozen=True):
    """Reads the state of a panel from a trace."""

    models: tuple[str, ...]
    """All models of the pool."""
    judge_model: JudgeModel
    verbalized: bool
    """Whether self-assessments are words of the model, or token probabilities."""

    def read_panel(self, trace: Trace) -> PanelState:
        """Return what the answers and judgments of a trace amount to."""
        proposals = latest_answers(trace)
        models = [p.model for p in proposals]
        groups = group_panel(trace)
        signals = collect_signals(models, groups, current_assessments(trace), self.judge_model)
        posterior = infer(
            self._votes(trace, proposals, groups),
            self.judge_model.correlation,
            [signal_log_odds(s, self.judge_model, verbalized=self.verbalized) for s in signals],
            vote_coefficient=self.judge_model.coefficients.votes,
            lone_leader=self.judge_model.coefficients.lone_leader,
            closed=groups.closed,
        )
        return PanelState(proposals, groups, posterior, self._leader(trace, posterior, proposals, groups))

    def _votes(self, trace: Trace, proposals: Sequence[Proposal], groups: Groups) -> list[Vote]:
        """Return each answer as a vote; one that breaks off or fails is less likely right than its model's others."""
        priors, coefficients = self.impute_priors(trace.prior), self.judge_model.coefficients
        informed = models_with_context(trace)
        votes: list[Vote] = []
        for i, (p, group) in enumerate(zip(proposals, groups.group_of, strict=True)):
            prior = priors[p.model]
            if not p.is_complete:
                prior = shift_prior(prior, coefficients.truncated)
            if groups.failed and groups.failed[i]:
                prior = shift_prior(prior, coefficients.failed)
            votes.append(Vote(p.model, prior, group, coefficients.informed_vote if p.model in informed else 1.0))
        return votes

    def _leader(self, trace: Trace, posterior: Posterior, proposals: Sequence[Proposal], groups: Groups) -> int | None:
        """Return the group that leads; the one that led before the last layer keeps the lead against noise."""
        best = posterior.leader
        if best is None or len(trace.layers) < 2:
            return best
        earlier = self.read_panel(replace(trace, layers=trace.layers[:-1]))
        if earlier.leader is None:
            return best
        supporters = earlier.supporters(earlier.leader)
        before = next((g for p, g in zip(proposals, groups.group_of, strict=True) if p.model in supporters), None)
        if before is None or posterior.probabilities[best] - posterior.probabilities[before] > HYSTERESIS_MARGIN:
            return best
        return before

    def impute_priors(self, predicted: Scores) -> dict[str, float]:
        """Return the prior of every model; one without a prediction gets the mean of the others."""
        return impute_missing(predicted, self.models)

    def score_models(self, predicted: Scores, state: PanelState) -> Scores:
        """Return P(right) of every model: of its answer, or else of its prior under the query's difficulty."""
        priors = self.impute_priors(predicted)
        updated = updated_priors(state.posterior, list(priors.values()), self.judge_model.correlation)
        scores: Scores = dict(zip(priors, updated, strict=True))
        for proposal, group in zip(state.proposals, state.groups.group_of, strict=True):
            if group is None:
                # It states no result that could be right: it gets a share of what no group has.
                scores[proposal.model] = max(0.0, (1.0 - sum(state.posterior.probabilities)) / len(state.proposals))
            else:
                scores[proposal.model] = (1.0 - LAPSE) * state.posterior.probabilities[group]
        return scores


def group_panel(trace: Trace) -> Groups:
    """Group each model's latest answer: by the tools it calls, where there are any; code by what it does, where it was
    run; else by what the answers say.

    A refusal says nothing, unless all are refusals.
    """
    return group_proposals(trace, latest_answers(trace))


def group_proposals(trace: Trace, proposals: Sequence[Proposal]) -> Groups:
    """Group some answers of a trace, as `group_panel` does the latest of each model."""
    return group_run_code(trace, proposals) or group_answers_to(trace.query, proposals)


def group_answers_to(query: Query, proposals: Sequence[Proposal]) -> Groups:
    """Group answers by what they say, or by the tools they call, or as JSON, as the query has it."""
    if query.tools is not None:
        return group_calls([p.tool_calls for p in proposals])
    if query.answer_format is not None:
        return group_json([p.text for p in proposals])
    places = [i for i, p in enumerate(proposals) if not p.refusal] or list(range(len(proposals)))
    texts = [proposals[i].text for i in places]
    options = read_option_texts(query.question) if len(texts) > 1 else ()
    return group_answers(texts, options).spread(places, len(proposals))
