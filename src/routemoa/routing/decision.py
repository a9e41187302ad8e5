"""What a policy says and what it reads of a trace. Pure data and functions."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from routemoa.core.trace import Assessment, Proposal, Ranking, Trace
from routemoa.core.types import CHARACTERS_PER_TOKEN, Scores
from routemoa.judging.answers.grouping import group_answers

__all__ = [
    "Decision",
    "LayerOptions",
    "best_distinct_answers",
    "current_assessments",
    "failed_models",
    "last_layer_answers",
    "latest_answers",
    "models_with_context",
]


class LayerOptions(Struct, frozen=True):
    """What a layer's models are asked for: `judging` their own answer, `cross` the quoted ones, if they `quote`."""

    self_assessment: bool = True
    cross_assessment: bool = False
    quote_answers: bool = False


class Decision(Struct, frozen=True):
    """What to do next. Either `call` names models, or `stop` says why the loop ends.

    At the end `choice` is whose answer stands or leads, `final` the answers for the aggregator, the leader's first, and
    `write` whether one is needed at all.
    """

    scores: Scores
    ranking: Ranking
    models: tuple[str, ...] = ()
    selection_reason: str = ""
    options: LayerOptions = LayerOptions()
    stop: str | None = None
    choice: str | None = None
    final_answers: tuple[Proposal, ...] = ()
    aggregate: bool = False
    references: tuple[Proposal, ...] | None = None  # the references of the next layer; None: all of the last one


def failed_models(trace: Trace) -> set[str]:
    """Models that failed in this query: they are not asked again."""
    return {f.model for done in trace.layers for f in done.failures}


def latest_answers(trace: Trace) -> tuple[Proposal, ...]:
    """Every model's latest answer, in the order in which models were first heard."""
    found: dict[str, Proposal] = {}
    for done in trace.layers:
        for proposal in done.proposals:
            found[proposal.model] = proposal
    return tuple(found.values())


def models_with_context(trace: Trace) -> set[str]:
    """Models that answered with answers of others in view."""
    return {model for done in trace.layers for model, shown in done.quoted.items() if shown}


def current_assessments(trace: Trace) -> tuple[Assessment, ...]:
    """All assessments that are about what `heard` gives: not those of an earlier answer that said something else."""
    said: dict[str, str] = {}
    kept: list[tuple[Assessment, str | None]] = []
    for done in trace.layers:
        before = dict(said)
        said |= {p.model: p.text for p in done.proposals}
        # Peers judge what stood before their layer, if anything did; each model judges what it has just written.
        shown = said if not before else said | before
        kept += [(a, (said if a.kind == "self" else shown).get(a.subject)) for a in done.assessments]
    return tuple(a for a, text in kept if text is not None and _same(text, said[a.subject]))


def _same(text: str, other: str) -> bool:
    return text == other or len(set(group_answers((text, other)).group_of)) == 1


def last_layer_answers(trace: Trace, ranking: Ranking) -> tuple[Proposal, ...]:
    """The answers of the last layer that gave any, best first as `ranking` has it."""
    order = {r.model: i for i, r in enumerate(ranking)}
    for done in reversed(trace.layers):
        if done.proposals:
            return tuple(sorted(done.proposals, key=lambda p: order.get(p.model, len(order))))
    return ()


def best_distinct_answers(
    proposals: Sequence[Proposal], groups: Sequence[int | None], order: Sequence[str], tokens: int
) -> tuple[Proposal, ...]:
    """The best answer of each group, best first, as many as fit in `tokens` (four characters to one); at least one."""
    place = {name: i for i, name in enumerate(order)}
    ranked = sorted(zip(proposals, groups, strict=True), key=lambda pair: place.get(pair[0].model, len(place)))
    seen: set[int | None] = set()
    out: list[Proposal] = []
    left = CHARACTERS_PER_TOKEN * tokens
    for proposal, number in ranked:
        if number is not None and number in seen:
            continue
        seen.add(number)
        left -= len(proposal.text)
        if left < 0 and out:
            break
        out.append(proposal)
    return tuple(out)
