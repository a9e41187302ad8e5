"""Hold records as arrays: questions as rows, models as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from routemoa.core.tables.candidates import find_samples
from routemoa.datasets.records import Record
from routemoa.scoring.predictor import Floats

__all__ = ["Table", "average_rows", "average_samples", "build_table", "fill_costs", "highest_scores"]

T = TypeVar("T")


@dataclass(frozen=True)
class Table:
    """Records of N questions and M models."""

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    tasks: tuple[str, ...]
    models: tuple[str, ...]
    scores: Floats
    """N x M, in [0, 1]; NaN where a model was not measured."""
    costs: Floats
    """N x M dollars; NaN where unknown."""
    prompts: tuple[str | None, ...]
    references: tuple[str | None, ...]

    def select_rows(self, rows: Sequence[int] | np.ndarray[tuple[int], np.dtype[np.intp]]) -> Table:
        """Return the table of these questions, in this order."""
        at = [int(i) for i in rows]

        def select(values: tuple[T, ...]) -> tuple[T, ...]:
            return tuple(values[i] for i in at)

        return Table(
            ids=select(self.ids),
            texts=select(self.texts),
            tasks=select(self.tasks),
            models=self.models,
            scores=self.scores[at],
            costs=self.costs[at],
            prompts=select(self.prompts),
            references=select(self.references),
        )

    def select_models(self, models: Sequence[str]) -> Table:
        """Return the table with these models as columns; one that the records do not have is not measured."""
        column_of = {m: i for i, m in enumerate(self.models)}

        def select(values: Floats) -> Floats:
            out = np.full((len(values), len(models)), np.nan, np.float32)
            for j, model in enumerate(models):
                if model in column_of:
                    out[:, j] = values[:, column_of[model]]
            return out

        return replace(self, models=tuple(models), scores=select(self.scores), costs=select(self.costs))


def build_table(records: Sequence[Record]) -> Table:
    """Turn records into arrays; the models are in the order in which they first appear."""
    models = tuple(dict.fromkeys(m for r in records for m in r.scores))
    column_of = {m: i for i, m in enumerate(models)}
    scores = np.full((len(records), len(models)), np.nan, np.float32)
    costs = np.full_like(scores, np.nan)
    for i, r in enumerate(records):
        for values, out in ((r.scores, scores), (r.costs or {}, costs)):
            for model, value in values.items():
                if value is not None and model in column_of:
                    out[i, column_of[model]] = value
    return Table(
        ids=tuple(r.id for r in records),
        texts=tuple(r.query for r in records),
        tasks=tuple(r.task for r in records),
        models=models,
        scores=scores,
        costs=costs,
        prompts=tuple(r.prompt for r in records),
        references=tuple(r.reference for r in records),
    )


def fill_costs(costs: Floats) -> Floats:
    """Return dollars, N x M, with a model's mean where a call's are unknown; NaN stays where all of a model's are."""
    known = ~np.isnan(costs)
    with np.errstate(invalid="ignore"):
        means = np.where(known, costs, 0.0).sum(0) / known.sum(0)
    out: Floats = np.where(known, costs, means).astype(np.float32)
    return out


def average_samples(models: Sequence[str], scores: Floats) -> Floats:
    """Return scores, N x M, in which a model's further samples all have their mean: they are drawn alike."""
    out = scores.copy()
    for places in find_samples(models):
        out[:, places] = average_rows(scores[:, places])[:, None]
    return out


def average_rows(values: Floats) -> Floats:
    """Return the means of rows over what was measured; NaN where nothing was."""
    measured = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        out: Floats = (np.where(measured, values, 0.0).sum(1) / measured.sum(1)).astype(np.float32)
    return out


def highest_scores(scores: Floats) -> Floats:
    """Return the highest score of each question among the models that were measured on it, N; NaN where none was."""
    highest = np.where(np.isnan(scores), -np.inf, scores).max(axis=1)
    out: Floats = np.where(np.isneginf(highest), np.nan, highest).astype(np.float32)
    return out
