"""What several baselines are made of: a layer, and what a trace says.

All of them treat failures as RouteMoA does: a model that failed is not called again in this query, the next step goes
on with those that answered, and the query fails only when no model has.
"""

from __future__ import annotations

from collections.abc import Sequence

from routemoa.core.events import Selected
from routemoa.core.trace import Proposal, Trace
from routemoa.core.types import ModelSpec
from routemoa.mixture.layer import LayerRequest, run_layer
from routemoa.mixture.run import Run
from routemoa.routing.decision import complete_first, failed_models, refusing_models, without_refusals

__all__ = ["last_answers", "remaining_models", "run_proposers", "unable_models"]


def unable_models(trace: Trace) -> set[str]:
    """Return the models that failed or refused in this query: none of them is asked to write or moderate."""
    return failed_models(trace) | {f.model for f in trace.failures} | refusing_models(trace)


def remaining_models(models: Sequence[ModelSpec], trace: Trace) -> list[ModelSpec]:
    """Return those of `models` that have not failed to answer in this query."""
    failed = failed_models(trace)
    return [m for m in models if m.name not in failed]


def last_answers(trace: Trace, models: Sequence[ModelSpec]) -> tuple[Proposal, ...]:
    """Return the answers of the last layer that gave any, in the order of `models`; of one model, by their texts.

    Refusals are left out, unless there is nothing else. The order in which the answers arrived does not count, so that
    the same answers always make the same prompt.
    """
    place = {m.name: i for i, m in enumerate(models)}
    proposals = next((layer.proposals for layer in reversed(trace.layers) if layer.proposals), ())
    return complete_first(sorted(without_refusals(proposals), key=lambda p: (place[p.model], p.text)))


async def run_proposers(
    run: Run, request: LayerRequest, models: Sequence[ModelSpec], reserve: Sequence[ModelSpec] = ()
) -> None:
    """Run a layer in which all of `models` answer at the same time; `reserve` replaces those that fail."""
    run.emit(Selected(request.number, tuple(m.name for m in models)))
    await run_layer(run, request, models, reserve)
