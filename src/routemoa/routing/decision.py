"""What a policy decides, and what it reads from a trace. Pure data and functions."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from routemoa.core.failure_kind import FailureKind
from routemoa.core.stop_reason import StopReason
from routemoa.core.trace import Assessment, Proposal, Ranking, Trace
from routemoa.core.types import CHARACTERS_PER_TOKEN, Scores
from routemoa.judging.answers.grouping import group_answers

__all__ = [
    "Decision",
    "LayerOptions",
    "aggregator_models",
    "best_distinct_answers",
    "blind_models",
    "complete_first",
    "current_assessments",
    "failed_models",
    "last_layer_answers",
    "latest_answers",
    "models_with_context",
    "quoted_answers",
    "refusing_models",
    "reserve_models",
    "skipped_models",
    "without_refusals",
]


class LayerOptions(Struct, frozen=True):
    """What the models of a layer are asked for besides an answer."""

    self_assessment: bool = True
    """To score their own answer."""
    cross_assessment: bool = False
    """To score the quoted answers."""
    quote_answers: bool = False
    """Whether they see earlier answers."""


class Decision(Struct, frozen=True):
    """What to do next: call `models`, or end the loop for the reason `stop`."""

    scores: Scores
    """P(right) of every model."""
    ranking: Ranking
    models: tuple[str, ...] = ()
    """The models of the next layer."""
    selection_reason: str = ""
    """Why these models."""
    options: LayerOptions = LayerOptions()
    stop: StopReason | None = None
    choice: str | None = None
    """The model whose answer leads."""
    final_answers: tuple[Proposal, ...] = ()
    """At the end: the answers for the aggregator, the leading one first."""
    aggregate: bool = False
    """At the end: whether an aggregator writes the answer; else the leading one stands."""
    compare: bool = False
    """At the end: whether a judge compares the final answers; the winner stands."""
    references: tuple[Proposal, ...] | None = None
    """The answers that the next layer is shown; None: all of the last one."""
    samples: bool = False
    """Whether a model that is asked again gives another sample: with a temperature and a seed of its own."""
    alone: bool = False
    """Whether its one model is expected to do as well as a mixture, so that no other has to be called."""


def failed_models(trace: Trace) -> set[str]:
    """Return the models that failed or were skipped in this query, which are not called again."""
    return {f.model for layer in trace.layers for f in layer.failures} | skipped_models(trace)


def skipped_models(trace: Trace) -> set[str]:
    """Return the models that this query does not call, or whose call it gave up: that is no fault of theirs."""
    given_up = (FailureKind.CANCELLED, FailureKind.UNAFFORDABLE)
    unmade = {f.model for layer in trace.layers for f in layer.failures if f.kind in given_up}
    return {s.model for s in trace.skipped} | unmade


def reserve_models(trace: Trace, decision: Decision, called: Sequence[str], *, repeat: bool) -> list[str]:
    """Return the models that may replace those of `called`, best first; with `repeat` also models that answered."""
    answered = set[str]() if repeat else {p.model for p in latest_answers(trace)}
    excluded = {*called, *failed_models(trace), *answered}
    return [r.model for r in decision.ranking if r.model not in excluded]


def quoted_answers(trace: Trace, decision: Decision) -> tuple[Proposal, ...]:
    """Return the answers that the next layer is shown; none where its models answer alone."""
    if not decision.options.quote_answers:
        return ()
    return last_layer_answers(trace, decision.ranking) if decision.references is None else decision.references


def refusing_models(trace: Trace) -> set[str]:
    """Return the models whose latest answer is a refusal."""
    return {p.model for p in latest_answers(trace) if p.refusal}


def aggregator_models(trace: Trace, ranking: Ranking, chosen: str) -> list[str]:
    """Return the models that may aggregate: `chosen` first if it is ranked, then by rank.

    Those that failed are left out, and those that refuse to answer. One that takes no images may write from the texts
    of others, after those that do.
    """
    blind = blind_models(trace)
    unable = (failed_models(trace) - blind) | refusing_models(trace)
    ranked = [r.model for r in ranking if r.model not in unable]
    return sorted(ranked, key=lambda name: (name != chosen, name in blind))


def blind_models(trace: Trace) -> set[str]:
    """Return the models that do not take an image, audio or a file of the query."""
    return {s.model for s in trace.skipped if s.kind == "modality"}


def latest_answers(trace: Trace) -> tuple[Proposal, ...]:
    """Return every model's latest answer, in the order of their first ones."""
    latest: dict[str, Proposal] = {}
    for layer in trace.layers:
        for proposal in layer.proposals:
            latest[proposal.model] = proposal
    return tuple(latest.values())


def models_with_context(trace: Trace) -> set[str]:
    """Return the models that saw other answers before they wrote theirs."""
    return {model for layer in trace.layers for model, shown in layer.quoted.items() if shown}


def current_assessments(trace: Trace) -> tuple[Assessment, ...]:
    """Return the assessments that hold for the latest answers, not those of an earlier answer that said otherwise."""
    texts: dict[str, str] = {}
    judged: list[tuple[Assessment, str | None]] = []
    for layer in trace.layers:
        earlier = dict(texts)
        texts |= {p.model: p.text for p in layer.proposals}
        # Peers judge the answers from before their layer, if there are any; each model judges what it has just written.
        shown = texts | earlier if earlier else texts
        judged += [(a, (texts if a.kind == "self" else shown).get(a.subject)) for a in layer.assessments]
    return tuple(a for a, text in judged if text is not None and _agree(text, texts[a.subject]))


def _agree(text: str, other: str) -> bool:
    return text == other or len(set(group_answers((text, other)).group_of)) == 1


def without_refusals(proposals: Sequence[Proposal]) -> tuple[Proposal, ...]:
    """Return the answers; the refusals only where there is nothing else."""
    return tuple(p for p in proposals if not p.refusal) or tuple(proposals)


def complete_first(answers: Sequence[Proposal]) -> tuple[Proposal, ...]:
    """Return answers, best first, with a complete one before the best where that breaks off and both say the same."""
    if not answers or answers[0].is_complete:
        return tuple(answers)
    equal = next((a for a in answers[1:] if a.is_complete and _agree(a.text, answers[0].text)), None)
    return tuple(answers) if equal is None else (equal, *(a for a in answers if a is not equal))


def last_layer_answers(trace: Trace, ranking: Ranking) -> tuple[Proposal, ...]:
    """Return the answers of the last layer that gave any, in the order of `ranking`, without refusals beside them."""
    place = {r.model: i for i, r in enumerate(ranking)}
    for layer in reversed(trace.layers):
        if layer.proposals:
            answers = without_refusals(layer.proposals)
            return complete_first(sorted(answers, key=lambda p: place.get(p.model, len(place))))
    return ()


def best_distinct_answers(
    proposals: Sequence[Proposal], groups: Sequence[int | None], order: Sequence[str], tokens: int
) -> tuple[Proposal, ...]:
    """Return the best answer of each group, best first, as many as fit in `tokens` (estimated); at least one.

    Of a group a complete answer is better than one that breaks off. Refusals are left out.
    """
    place = {model: i for i, model in enumerate(order)}
    only_refusals = all(p.refusal for p in proposals)
    kept = [(p, g) for p, g in zip(proposals, groups, strict=True) if only_refusals or not p.refusal]
    ranked = sorted(kept, key=lambda pair: place.get(pair[0].model, len(place)))
    seen: set[int | None] = set()
    chosen: list[Proposal] = []
    characters_left = CHARACTERS_PER_TOKEN * tokens
    for first, group in ranked:
        if group is not None and group in seen:
            continue
        same = [first] if group is None else [p for p, g in ranked if g == group]
        proposal = next((p for p in same if p.is_complete), first)
        seen.add(group)
        characters_left -= len(proposal.text)
        if characters_left < 0 and chosen:
            break
        chosen.append(proposal)
    return tuple(chosen)
