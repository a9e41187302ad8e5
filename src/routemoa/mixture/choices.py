"""Further answers to a query for which a caller wants several: the panel's best different ones, then samples."""

from __future__ import annotations

from msgspec.structs import replace

from routemoa.core.events import Degraded, Selected
from routemoa.core.trace import Degradation, Proposal
from routemoa.core.types import ModelSpec
from routemoa.core.usage import Usage
from routemoa.mixture.layer import LayerRequest, run_layer
from routemoa.mixture.run import Run
from routemoa.routing.decision import latest_answers, without_refusals
from routemoa.routing.state import group_answers_to

__all__ = ["find_choices"]

SAMPLING_TEMPERATURE = 1.0
"""Of samples, where the caller sets none: at 0 they would all be the same."""


async def find_choices(run: Run, sampled: ModelSpec) -> tuple[Proposal, ...]:
    """Return as many answers beside the final one as the query asks for, best first; fewer where the limits end it.

    Those that differ come first: of the panel by rank, then samples of one model, then samples that repeat another.
    """
    wanted = run.query.choices - 1
    first = Proposal("", run.answer.text, Usage(), None, None, tool_calls=run.final_calls)
    panel = _by_rank(run)
    found = _distinct(run, first, panel)[:wanted]
    if len(found) < wanted:
        samples = await _sample(run, sampled, wanted - len(found))
        different = _distinct(run, first, (*found, *samples))
        repeated = [s for s in samples if s not in different]
        found = (*different, *repeated)[:wanted]
    if len(found) < wanted:
        why = f"{len(found) + 1} of the {wanted + 1} answers that n asks for could be had"
        run.emit(Degraded(Degradation("choices", why)))
    return tuple(run.with_call_ids(p) for p in found)


def _by_rank(run: Run) -> tuple[Proposal, ...]:
    """Return each model's latest answer, the best first; complete ones before those that break off."""
    ranking = next((layer.ranking for layer in reversed(run.trace.layers) if layer.ranking), run.trace.ranking)
    place = {ranked.model: i for i, ranked in enumerate(ranking)}
    answers = without_refusals(latest_answers(run.trace))
    return tuple(sorted(answers, key=lambda p: (not p.is_complete, place.get(p.model, len(place)))))


def _distinct(run: Run, first: Proposal, answers: tuple[Proposal, ...]) -> tuple[Proposal, ...]:
    """Return the first of `answers` of each kind that differs from the final answer, in their order."""
    groups = group_answers_to(run.query, (first, *answers)).group_of
    seen, found = {groups[0]}, list[Proposal]()
    for answer, group in zip(answers, groups[1:], strict=True):
        is_new = answer.text.strip() != first.text.strip() if group is None else group not in seen
        if is_new and answer not in found:
            seen.add(group)
            found.append(answer)
    return tuple(found)


async def _sample(run: Run, spec: ModelSpec, count: int) -> tuple[Proposal, ...]:
    """Return answers of one model, sampled at the same time."""
    number = len(run.trace.layers) + 1
    parameters = {"temperature": SAMPLING_TEMPERATURE, **run.query.parameters}
    if not parameters["temperature"]:
        parameters["temperature"] = SAMPLING_TEMPERATURE
    parameters.pop("seed", None)
    run.emit(Selected(number, (spec.name,) * count, "further answers: n asks for more than the panel's differ"))
    query = replace(run.query, parameters=parameters)
    await run_layer(run, LayerRequest(number, query, is_last=False), [spec] * count)
    return run.trace.layers[-1].proposals
