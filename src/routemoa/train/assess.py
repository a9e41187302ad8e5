"""What a scorer is worth on records: the first choice beside best single, task lookup, random, shuffled and oracle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routemoa.trained import Floats

__all__ = ["Known", "assess", "calibration", "known"]

BINS = 15
RESAMPLES = 1000
Known = Mapping[str, Any]
"""What was chosen on the training records: `best_single`, `best_three`, `by_task`, all as model names."""


def known(scores: Floats, tasks: Sequence[str], models: Sequence[str]) -> dict[str, Any]:
    """What a router without a scorer would have chosen on the training records (N x M, NaN: not measured)."""
    means = _mean(scores)
    top = list(np.argsort(-means)[:12])
    values = {trio: _any(scores, trio) for trio in combinations(sorted(top), min(3, len(top)))}
    best = max(values, key=lambda trio: values[trio])
    by_task = {task: models[int(_mean(scores[[t == task for t in tasks]]).argmax())] for task in dict.fromkeys(tasks)}
    return {
        "best_single": models[int(means.argmax())],
        "best_three": [models[i] for i in best],
        "by_task": by_task,
    }


def assess(  # noqa: PLR0917
    predicted: Floats, scores: Floats, tasks: Sequence[str], models: Sequence[str], chosen: Known, seed: int = 0
) -> dict[str, Any]:
    """The figures of `routemoa scorer evaluate`; see the issue of the scorer for their names.

    Args:
        predicted: N x M probabilities.
        scores: N x M true scores in [0, 1], NaN where not measured; a model that was not measured is not chosen.
        chosen: from `known`, made on other records.
    """
    whole = _figures(predicted, scores, tasks, models, chosen, seed)
    per_task: dict[str, Any] = {}
    for task in dict.fromkeys(tasks):
        rows = np.array([t == task for t in tasks])
        per_task[task] = _figures(predicted[rows], scores[rows], [task] * int(rows.sum()), models, chosen, seed)
    numbers = [k for k, v in whole.items() if isinstance(v, float)]
    macro = {k: _average([t[k] for t in per_task.values()]) for k in numbers}
    per_model = {m: _of_model(predicted[:, j], scores[:, j]) for j, m in enumerate(models)}
    return {**whole, "per_task": per_task, "macro": macro, "per_model": per_model}


def _figures(  # noqa: PLR0917
    predicted: Floats, scores: Floats, tasks: Sequence[str], models: Sequence[str], chosen: Known, seed: int
) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    measured = ~np.isnan(scores)
    order = np.argsort(-np.where(measured, predicted, -1.0), axis=1)
    first = order[:, 0]
    place = {m: i for i, m in enumerate(models)}
    single = place.get(chosen["best_single"], 0)
    lookup = np.array([place.get(chosen["by_task"].get(t, chosen["best_single"]), single) for t in tasks], np.intp)
    three = [place[m] for m in chosen["best_three"] if m in place]
    filled = np.where(measured, scores, 0.0)
    rows = np.arange(len(scores))
    solvable = filled.max(1) > 0
    panel = np.take_along_axis(filled, order[:, :3], axis=1).max(1)
    shuffled = [float(filled[rows, first[rng.permutation(len(first))]].mean()) for _ in range(20)]
    out: dict[str, Any] = {
        "n": len(scores),
        "accuracy": float(filled[rows, first].mean()),
        "best_single": float(filled[:, single].mean()),
        "best_single_model": models[single],
        "task_lookup": float(filled[rows, lookup].mean()),
        "random": float(np.nanmean(np.where(measured, scores, np.nan))),
        "shuffled": float(np.mean(shuffled)),
        "oracle": float(filled.max(1).mean()),
        "hit_at_1": _share(filled[rows, first] > 0, solvable),
        "hit_at_3": _share(panel > 0, solvable),
        "any_correct_at_3": float(panel.mean()),
        "fixed_best_3_any_correct": float(filled[:, three].max(1).mean()) if three else None,
        "calibration": calibration(predicted[measured], scores[measured]),
    }
    out["ci95"] = {
        "accuracy": _interval(filled[rows, first], rng),
        "gain_over_best_single": _interval(filled[rows, first] - filled[:, single], rng),
        "any_correct_at_3": _interval(panel, rng),
        "hit_at_3": _interval((panel > 0)[solvable], rng),
    }
    return out


def calibration(predicted: Floats, truth: Floats) -> dict[str, float | None]:
    """Expected calibration error (15 equal bins), Brier score, and area under the ROC curve (truth above one half)."""
    if not len(predicted):
        return {"ece": None, "brier": None, "auc": None}
    bins = np.clip((predicted * BINS).astype(int), 0, BINS - 1)
    gaps = [
        abs(float(predicted[bins == b].mean() - truth[bins == b].mean())) * float((bins == b).mean())
        for b in range(BINS)
        if (bins == b).any()
    ]
    return {
        "ece": float(sum(gaps)),
        "brier": float(np.mean(np.square(predicted - truth))),
        "auc": _auc(predicted, truth > 0.5),
    }


def _of_model(predicted: Floats, scores: Floats) -> dict[str, float | None]:
    seen = ~np.isnan(scores)
    if not seen.any():
        return {"auc": None, "ece": None, "mean_predicted": None, "mean_true": None}
    found = calibration(predicted[seen], scores[seen])
    means = {"mean_predicted": float(predicted[seen].mean()), "mean_true": float(scores[seen].mean())}
    return {"auc": found["auc"], "ece": found["ece"], **means}


def _auc(predicted: Floats, positive: NDArray[np.bool_]) -> float | None:
    """Probability that a right answer was given a higher score than a wrong one; ties count half."""
    yes, no = int(positive.sum()), int((~positive).sum())
    if not yes or not no:
        return None
    values, place = np.unique(predicted, return_inverse=True)
    counts = np.bincount(place, minlength=len(values))
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return float((ranks[place][positive].sum() - yes * (yes + 1) / 2) / (yes * no))


def _mean(scores: Floats) -> Floats:
    seen = ~np.isnan(scores)
    means: Floats = np.where(seen, scores, 0.0).sum(0) / np.maximum(1, seen.sum(0))
    return means


def _any(scores: Floats, members: Sequence[int]) -> float:
    return float(np.where(np.isnan(scores), 0.0, scores)[:, list(members)].max(1).mean())


def _share(hits: NDArray[np.bool_], of: NDArray[np.bool_]) -> float | None:
    return float(hits[of].mean()) if of.any() else None


def _interval(values: NDArray[Any], rng: np.random.Generator) -> list[float] | None:
    """95 % bootstrap interval of the mean."""
    if not len(values):
        return None
    means = [float(values[rng.integers(0, len(values), len(values))].mean()) for _ in range(RESAMPLES)]
    return [float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))]


def _average(values: Sequence[float | None]) -> float | None:
    there = [v for v in values if v is not None]
    return sum(there) / len(there) if there else None
