"""The calls that dense mixtures make for one query, stage by stage: the one model of what they take. Pure.

Estimates before a run, alternatives in a trace and replays count these calls; each prices them in its own way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Literal, TypeVar

from msgspec import Struct

__all__ = ["PlannedCall", "Stage", "plan_moa", "plan_smoa"]

M = TypeVar("M")
"""A model: its name or its spec."""


class PlannedCall(Struct, Generic[M], frozen=True):
    """A call, and the models whose answers its prompt quotes."""

    model: M
    shown: Sequence[M] = ()
    kind: Literal["proposal", "refinement", "moderation", "aggregation"] = "proposal"
    """A refinement quotes as many answers as fit into `[mixture] reference_tokens`."""


Stage = tuple[PlannedCall[M], ...]
"""Calls that are made at the same time."""


def plan_moa(models: Sequence[M], layers: int, answering: Sequence[M], writer: M) -> list[Stage[M]]:
    """Return the stages of MoA: layers in which every model sees all answers of the layer before, then the aggregator.

    `models` are called in the first layer, those that answer (`answering`) in all later ones.
    """
    first = tuple(PlannedCall(m) for m in models)
    later = tuple(PlannedCall(m, answering) for m in answering)
    return [first, *[later] * (layers - 1), (PlannedCall(writer, answering, "aggregation"),)]


def plan_smoa(
    models: Sequence[M],
    layers: int,
    answering: Sequence[M],
    writer: M,
    kept: Sequence[M],
    *,
    ended_after: int | None = None,
) -> list[Stage[M]]:
    """Return the stages of SMoA: layers that see the `kept` answers, a moderator after each, then the aggregator.

    After the last layer there is nothing to moderate where all answers can be kept. The moderator may end the debate
    after fewer layers (`ended_after`).
    """
    stages: list[Stage[M]] = []
    moderation = (PlannedCall(writer, answering, "moderation"),)
    for number in range(1, (ended_after or layers) + 1):
        called, shown = (models, ()) if number == 1 else (answering, kept)
        stages.append(tuple(PlannedCall(m, shown) for m in called))
        if number < layers or len(answering) > len(kept):
            stages.append(moderation)
    return [*stages, (PlannedCall(writer, kept, "aggregation"),)]
