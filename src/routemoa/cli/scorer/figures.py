"""What the scorer's commands share: records as a table, and figures on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from routemoa.cli.options import say
from routemoa.cli.terminal.lines import print_line
from routemoa.core.errors import ConfigError
from routemoa.core.text.plural import counted
from routemoa.core.types import Scores
from routemoa.datasets.records import read_records
from routemoa.evaluation.dominance import describe_dominance, find_dominating_model
from routemoa.training.table import Table, build_table

__all__ = [
    "print_figures",
    "read_table",
    "summarize_figures",
    "to_scores",
    "warn_of_dominance",
    "warn_of_few_questions",
]

FEW_QUESTIONS = 50
"""With fewer, cross-validated figures are chance."""


def read_table(records: Sequence[str], *, allow_duplicates: bool = False) -> Table:
    """Return all records of these files, without models that were never measured.

    Raises:
        ConfigError: there is no record, or none was measured.
        RecordsError: a line cannot be used.
    """
    data = build_table(list(read_records(records, allow_duplicates=allow_duplicates, say=say)))
    if not data.texts:
        raise ConfigError(f"{', '.join(records)}: no record; see docs/how-to/scorer.md for the format")
    measured = [data.models[j] for j in np.flatnonzero((~np.isnan(data.scores)).any(axis=0))]
    if not measured:
        raise ConfigError(f"{', '.join(records)}: every score is null: nothing was measured")
    if left_out := [m for m in data.models if m not in measured]:
        print_line(f"never measured, left out: {', '.join(left_out)}", err=True)
    return data.select_models(measured)


def warn_of_few_questions(data: Table) -> list[str]:
    """Return a warning where the figures are of so few questions that they say nothing."""
    asked = len(data.texts)
    if asked >= FEW_QUESTIONS:
        return []
    return [
        f"these figures are of {counted(asked, 'question')} and mean nothing: chance moves them by tens of points; "
        f"collect at least {FEW_QUESTIONS}, better 500, before you trust this scorer"
    ]


def warn_of_dominance(data: Table) -> list[str]:
    """Return a warning where one model dominates the others, so that a mixture will not help."""
    found = find_dominating_model(to_scores(data), data.tasks)
    return [describe_dominance(found)] if found else []


def to_scores(data: Table) -> list[Scores]:
    """Return the scores of each question by model; None where a model was not measured."""
    return [
        {m: None if np.isnan(score) else float(score) for m, score in zip(data.models, row, strict=True)}
        for row in data.scores
    ]


def summarize_figures(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures that are printed and kept in a scorer's card."""
    costs = {f"cost_{k}": v for k, v in figures.get("cost", {}).items() if k != "curve"}
    scalars = {k: v for k, v in figures.items() if isinstance(v, float | int | str) or k in figures["ci95"]}
    return {**scalars, **figures["calibration"], "macro_accuracy": figures["macro"]["accuracy"], **costs}


def print_figures(figures: Mapping[str, Any], intervals: Mapping[str, Any] | None = None) -> None:
    """Print a figure a line, with its 95 % interval where there is one."""
    for name, value in figures.items():
        interval = (intervals or {}).get(name)
        suffix = f"   {interval[0]:.4f} to {interval[1]:.4f}" if interval else ""
        shown = f"{value:.4f}" if isinstance(value, float) else "unknown" if value is None else value
        print_line(f"{name:26} {shown}{suffix}")
