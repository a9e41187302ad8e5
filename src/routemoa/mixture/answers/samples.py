"""Several answers of one model to a question, each a sample of its own. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from routemoa.core.tables.candidates import draw_again
from routemoa.core.trace import Trace
from routemoa.core.types import ModelSpec

__all__ = ["draw_samples"]


def draw_samples(models: Sequence[ModelSpec], trace: Trace) -> tuple[ModelSpec, ...]:
    """Return the models of a layer; one that is asked again has a temperature and a seed of its own.

    Args:
        models: those of the layer; one may stand in it several times.
        trace: so far; what a model has answered in it counts as its first samples.
    """
    asked = Counter(p.model for layer in trace.layers for p in layer.proposals)
    drawn = list[ModelSpec]()
    for model in models:
        number = asked[model.name]
        drawn.append(draw_again(model, number, trace.query.parameters) if number else model)
        asked[model.name] += 1
    return tuple(drawn)
