"""What a scorer is worth on records: the first choice beside best single, task lookup, random, shuffled and oracle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routemoa.scoring.predictor import Floats, Predictor
from routemoa.training.cost_tradeoff import COST_RATES, choose_models, weigh_tasks_equally
from routemoa.training.table import Table, average_scores

__all__ = ["BaselineChoices", "Predictions", "evaluate_predictions", "measure_calibration", "choose_baselines"]

BINS = 15
BaselineChoices = Mapping[str, Any]
"""What was chosen on the training records: `best_single`, `best_three`, `by_task`, all as model names."""


@dataclass(frozen=True)
class Predictions:
    """What a scorer says of N questions and M models: `scores` and `costs` (dollars) N x M, `panels` N x K columns."""

    scores: Floats
    panels: NDArray[np.intp]
    costs: Floats

    @classmethod
    def from_predictor(cls, predictor: Predictor, texts: Sequence[str]) -> Predictions:
        """What `predictor` says of texts."""
        vectors = predictor.embed(texts)
        return cls(predictor.predict_vectors(vectors), predictor.choose_panels(vectors), predictor.estimate_costs(vectors))


def choose_baselines(data: Table) -> dict[str, Any]:
    """What a router without a scorer would have chosen on the training records."""
    average = average_scores(data.scores)
    top = list(np.argsort(-average)[:12])
    values = {trio: _any_right(data.scores, trio) for trio in combinations(sorted(top), min(3, len(top)))}
    best = max(values, key=lambda trio: values[trio])
    tasks = np.array(data.tasks)
    by_task = {t: data.models[int(average_scores(data.scores[tasks == t]).argmax())] for t in dict.fromkeys(data.tasks)}
    return {
        "best_single": data.models[int(average.argmax())],
        "best_three": [data.models[i] for i in best],
        "by_task": by_task,
    }


def evaluate_predictions(said: Predictions, data: Table, chosen: BaselineChoices, seed: int = 0) -> dict[str, Any]:
    """The figures of `routemoa scorer evaluate`; docs/scorer.md says what each of them is.

    Args:
        said: by a scorer that was not trained on these questions.
        data: the truth; a model that was not measured is not chosen.
        chosen: from `known`, made on other records, with `rates` where trade-offs were chosen there.
    """
    whole = _measure(said, data, chosen, seed)
    per_task: dict[str, Any] = {}
    tasks = np.array(data.tasks)
    for task in dict.fromkeys(data.tasks):
        rows = np.flatnonzero(tasks == task)
        part = Predictions(said.scores[rows], said.panels[rows], said.costs[rows])
        per_task[task] = _measure(part, data.select_rows(rows), chosen, seed)
    numbers = [k for k, v in whole.items() if isinstance(v, float)]
    macro: dict[str, Any] = {k: _average_known([t[k] for t in per_task.values()]) for k in numbers}
    macro["n"] = len(per_task)
    macro["calibration"] = {
        k: _average_known([t["calibration"][k] for t in per_task.values()]) for k in ("ece", "brier", "auc")
    }
    per_model = {m: _measure_model(said.scores[:, j], data.scores[:, j]) for j, m in enumerate(data.models)}
    out = {**whole, "per_task": per_task, "macro": macro, "per_model": per_model}
    if rates := chosen.get("rates"):
        single, alike = out["best_single_model"], np.full(len(data.texts), 1 / len(data.texts), np.float32)
        out["cost"] = _measure_cost(said, data, single, rates, alike)
        macro["cost"] = _measure_cost(said, data, single, rates, weigh_tasks_equally(data.tasks))
    return out


def _measure(said: Predictions, data: Table, chosen: BaselineChoices, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    scores, models = data.scores, data.models
    measured = ~np.isnan(scores)
    first = np.where(measured, said.scores, -1.0).argmax(axis=1)
    place = {m: i for i, m in enumerate(models)}
    single = place.get(chosen["best_single"], 0)
    lookup = np.array([place.get(chosen["by_task"].get(t, chosen["best_single"]), single) for t in data.tasks], np.intp)
    three = [place[m] for m in chosen["best_three"] if m in place]
    filled = np.where(measured, scores, 0.0)
    rows = np.arange(len(scores))
    solvable = filled.max(1) > 0
    panel = np.take_along_axis(filled, said.panels, axis=1).max(1)
    shuffled = np.mean([filled[rows, first[rng.permutation(len(first))]] for _ in range(20)], axis=0)
    drawn = np.where(measured, scores, 0.0).sum(1) / np.maximum(1, measured.sum(1))
    values: dict[str, NDArray[Any]] = {
        "accuracy": filled[rows, first],
        "best_single": filled[:, single],
        "task_lookup": filled[rows, lookup],
        "random": drawn,
        "shuffled": shuffled,
        "oracle": filled.max(1),
        "hit_at_1": (filled[rows, first] > 0)[solvable].astype(float),
        "hit_at_3": (panel > 0)[solvable].astype(float),
        "any_correct_at_3": panel,
    }
    if three:
        values["fixed_best_3_any_correct"] = filled[:, three].max(1)
    out: dict[str, Any] = {"n": len(scores)}
    for name, each in values.items():
        out[name] = float(each.mean()) if len(each) else None
        if name == "best_single":
            out["best_single_model"] = models[single]
    out.setdefault("fixed_best_3_any_correct", None)
    out["calibration"] = measure_calibration(said.scores[measured], scores[measured])
    gain = {"gain_over_best_single": values["accuracy"] - values["best_single"]}
    out["ci95"] = {name: _bootstrap_interval(each, rng) for name, each in (values | gain).items()}
    return out


def _measure_cost(said: Predictions, data: Table, single: str, rates: Mapping[str, float], weights: Floats) -> dict[str, Any]:
    """Shares of the best single model's cost, and of its accuracy, at the rates chosen in training; and a curve."""
    column, rows = data.models.index(single), np.arange(len(weights))
    truth, usable = np.nan_to_num(data.scores), np.where(np.isnan(data.scores + data.costs), np.nan, said.scores)
    dollars = np.where(np.isnan(data.costs), np.nanmean(data.costs, axis=0), data.costs)
    whole, alone = float(weights @ dollars[:, column]), float(weights @ truth[:, column])
    if not whole or not alone:
        return dict.fromkeys(rates)

    def at(rate: float) -> tuple[float, float]:
        pick = choose_models(usable, said.costs, rate)
        return float(weights @ dollars[rows, pick]) / whole, float(weights @ truth[rows, pick]) / alone

    out: dict[str, Any] = {}
    for name, rate in rates.items():
        out[name], out[f"accuracy_{name}"] = at(rate)
    out["curve"] = [list(point) for point in dict.fromkeys(at(float(r)) for r in COST_RATES[::5] / whole)]
    return out


def measure_calibration(predicted: Floats, truth: Floats) -> dict[str, float | None]:
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
        "auc": _measure_auc(predicted, truth > 0.5),
    }


def _measure_model(predicted: Floats, scores: Floats) -> dict[str, float | None]:
    seen = ~np.isnan(scores)
    if not seen.any():
        return {"auc": None, "ece": None, "mean_predicted": None, "mean_true": None}
    found = measure_calibration(predicted[seen], scores[seen])
    means = {"mean_predicted": float(predicted[seen].mean()), "mean_true": float(scores[seen].mean())}
    return {"auc": found["auc"], "ece": found["ece"], **means}


def _measure_auc(predicted: Floats, positive: NDArray[np.bool_]) -> float | None:
    """Probability that a right answer was given a higher score than a wrong one; ties count half."""
    yes, no = int(positive.sum()), int((~positive).sum())
    if not yes or not no:
        return None
    values, place = np.unique(predicted, return_inverse=True)
    counts = np.bincount(place, minlength=len(values))
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return float((ranks[place][positive].sum() - yes * (yes + 1) / 2) / (yes * no))


def _any_right(scores: Floats, members: Sequence[int]) -> float:
    return float(np.where(np.isnan(scores), 0.0, scores)[:, list(members)].max(1).mean())


def _bootstrap_interval(values: NDArray[Any], rng: np.random.Generator) -> list[float] | None:
    """95 % bootstrap interval of the mean, of 1000 resamples."""
    if not len(values):
        return None
    means = np.concatenate([values[rng.integers(0, len(values), (50, len(values)))].mean(1) for _ in range(20)])
    return [float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))]


def _average_known(values: Sequence[float | None]) -> float | None:
    there = [v for v in values if v is not None]
    return sum(there) / len(there) if there else None
