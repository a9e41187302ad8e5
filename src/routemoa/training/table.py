"""Records as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from routemoa.datasets.records import Record
from routemoa.scoring.predictor import Floats

__all__ = ["Table", "average_scores", "build_table"]

T = TypeVar("T")


@dataclass(frozen=True)
class Table:
    """Questions as rows: `scores` and `costs` (dollars) are N x M with NaN where a model was not measured."""

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    tasks: tuple[str, ...]
    models: tuple[str, ...]
    scores: Floats
    costs: Floats
    prompts: tuple[str | None, ...]
    references: tuple[str | None, ...]

    def select_rows(self, chosen: Sequence[int] | np.ndarray[tuple[int], np.dtype[np.intp]]) -> Table:
        """The questions at these places."""
        at = [int(i) for i in chosen]

        def some(values: tuple[T, ...]) -> tuple[T, ...]:
            return tuple(values[i] for i in at)

        return Table(
            some(self.ids), some(self.texts), some(self.tasks), self.models,
            self.scores[at], self.costs[at], some(self.prompts), some(self.references),
        )  # fmt: skip

    def select_models(self, models: Sequence[str]) -> Table:
        """With these models as columns, in this order; one that the records do not know is not measured."""
        place = {m: i for i, m in enumerate(self.models)}

        def columns(values: Floats) -> Floats:
            out = np.full((len(values), len(models)), np.nan, np.float32)
            for j, model in enumerate(models):
                if model in place:
                    out[:, j] = values[:, place[model]]
            return out

        return replace(self, models=tuple(models), scores=columns(self.scores), costs=columns(self.costs))


def build_table(records: Sequence[Record]) -> Table:
    """Records as arrays, models in the order of their first appearance."""
    models = tuple(dict.fromkeys(m for r in records for m in r.scores))
    column = {m: i for i, m in enumerate(models)}
    scores = np.full((len(records), len(models)), np.nan, np.float32)
    costs = np.full_like(scores, np.nan)
    for i, r in enumerate(records):
        for values, out in ((r.scores, scores), (r.costs or {}, costs)):
            for model, value in values.items():
                if value is not None and model in column:
                    out[i, column[model]] = value
    return Table(
        tuple(r.id for r in records),
        tuple(r.query for r in records),
        tuple(r.task for r in records),
        models,
        scores,
        costs,
        tuple(r.prompt for r in records),
        tuple(r.reference for r in records),
    )


def average_scores(scores: Floats) -> Floats:
    """Each model's mean over what was measured, M; 0 where nothing was."""
    seen = ~np.isnan(scores)
    found: Floats = (np.where(seen, scores, 0.0).sum(0) / np.maximum(1, seen.sum(0))).astype(np.float32)
    return found
