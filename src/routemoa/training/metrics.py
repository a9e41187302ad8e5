"""Measure a scorer on records: the first choice, beside baselines, random choice and an oracle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routemoa.core.learned.intervals import interval_without_spread
from routemoa.scoring.mean_scores import average_scores
from routemoa.scoring.predictor import Floats, Predictor
from routemoa.scoring.router_baselines import RouterBaselines, first_choices
from routemoa.training.cost_tradeoff import (
    COST_RATES,
    RateMix,
    choose_at_mix,
    choose_models,
    read_rate_mix,
    weigh_questions_equally,
    weigh_tasks_equally,
)
from routemoa.training.table import Table, average_rows, fill_costs, highest_scores

__all__ = [
    "BINS",
    "BaselineChoices",
    "Predictions",
    "choose_baselines",
    "evaluate_predictions",
    "look_up_tasks",
    "measure_calibration",
]

BINS = 15
"""Equal bins of predicted probabilities, for the calibration error."""
BaselineChoices = Mapping[str, Any]
"""What was chosen on the training records: `best_single`, `best_three`, `by_task`, all as model names."""


@dataclass(frozen=True)
class Predictions:
    """A scorer's predictions for N questions and M models."""

    scores: Floats
    """N x M, in [0, 1]."""
    panels: NDArray[np.intp]
    """N x K columns of models."""
    costs: Floats
    """N x M dollars."""
    routers: Mapping[str, Floats] = field(default_factory=dict)
    """Router to compare with -> its value of each model, N x M; it chooses the model with the highest."""

    @classmethod
    def from_predictor(
        cls, predictor: Predictor, texts: Sequence[str], baselines: RouterBaselines | None = None
    ) -> Predictions:
        """Predict for texts; with what `baselines` predict, as the routers `knn` and `cluster_lookup`."""
        vectors = predictor.embed(texts)
        routers = {} if baselines is None else baselines.average_all(vectors)
        return cls(
            scores=predictor.predict_vectors(vectors),
            panels=predictor.choose_panels(vectors),
            costs=predictor.estimate_costs(vectors),
            routers=routers,
        )

    def select_rows(self, rows: NDArray[np.intp]) -> Predictions:
        """Return the predictions for these questions."""
        routers = {name: values[rows] for name, values in self.routers.items()}
        return Predictions(self.scores[rows], self.panels[rows], self.costs[rows], routers)

    def first_choices(self, scores: Floats) -> dict[str, NDArray[np.intp]]:
        """Return the column that the scorer ("accuracy") and each router choose for N questions, of those measured."""
        return {name: first_choices(v, scores) for name, v in {"accuracy": self.scores, **self.routers}.items()}


def choose_baselines(data: Table) -> dict[str, Any]:
    """Return what a router without a scorer would choose on the training records, as `BaselineChoices`."""
    averages = average_scores(data.scores)
    top = list(np.argsort(-averages)[:12])
    values = {trio: _average_any_right(data.scores, trio) for trio in combinations(sorted(top), min(3, len(top)))}
    best = max(values, key=lambda trio: values[trio])
    tasks = np.array(data.tasks)
    by_task = {t: data.models[int(average_scores(data.scores[tasks == t]).argmax())] for t in dict.fromkeys(data.tasks)}
    return {
        "best_single": data.models[int(averages.argmax())],
        "best_three": [data.models[i] for i in best],
        "by_task": by_task,
    }


def look_up_tasks(data: Table, chosen: BaselineChoices) -> NDArray[np.intp]:
    """Return the column of the best model of each question's task, N; of an unknown task the best single model's."""
    column_of = {m: i for i, m in enumerate(data.models)}
    single = column_of.get(chosen["best_single"], 0)
    names = (chosen["by_task"].get(t, chosen["best_single"]) for t in data.tasks)
    return np.array([column_of.get(model, single) for model in names], np.intp)


def evaluate_predictions(
    predictions: Predictions, data: Table, chosen: BaselineChoices, seed: int = 0
) -> dict[str, Any]:
    """Return the figures of `routemoa scorer evaluate`; docs/how-to/scorer.md defines each of them.

    Args:
        predictions: by a scorer that was not trained on these questions.
        data: the truth; a model that was not measured is not chosen.
        chosen: from `choose_baselines` on other records; with `rates` and `macro_rates` where cost rates were chosen
            there, for questions and for tasks of equal weight.
        seed: of the shuffled control and the bootstrap.
    """
    whole = _measure(predictions, data, chosen, seed)
    per_task: dict[str, Any] = {}
    tasks = np.array(data.tasks)
    for task in dict.fromkeys(data.tasks):
        rows = np.flatnonzero(tasks == task)
        per_task[task] = _measure(predictions.select_rows(rows), data.select_rows(rows), chosen, seed)
    numbers = [k for k, v in whole.items() if isinstance(v, float)]
    macro: dict[str, Any] = {k: _average_known([t[k] for t in per_task.values()]) for k in numbers}
    macro["n"] = len(per_task)
    macro["calibration"] = {
        k: _average_known([t["calibration"][k] for t in per_task.values()]) for k in ("ece", "brier", "auc")
    }
    per_model = {m: _measure_model(predictions.scores[:, j], data.scores[:, j]) for j, m in enumerate(data.models)}
    out = {**whole, "per_task": per_task, "macro": macro, "per_model": per_model}
    if rates := chosen.get("rates"):
        single, macro_rates = out["best_single_model"], chosen.get("macro_rates") or rates
        out["cost"] = _measure_cost(predictions, data, single, rates, weigh_questions_equally(data.tasks))
        macro["cost"] = _measure_cost(predictions, data, single, macro_rates, weigh_tasks_equally(data.tasks))
    return out


def measure_calibration(predicted: Floats, truth: Floats) -> dict[str, float | None]:
    """Return the expected calibration error (15 equal bins), the Brier score, and the area under the ROC curve.

    `predicted` and `truth` are in [0, 1]; for the ROC curve an answer is right above one half. None is undefined.
    """
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


def _measure(predictions: Predictions, data: Table, chosen: BaselineChoices, seed: int) -> dict[str, Any]:
    """Return the figures of one set of questions, with bootstrap intervals.

    A choice that was not measured on a question is unknown there (NaN), and left out of its figure.
    """
    rng = np.random.default_rng(seed)
    scores, models = data.scores, data.models
    measured = ~np.isnan(scores)
    firsts = predictions.first_choices(scores)
    first = firsts["accuracy"]
    column_of = {m: i for i, m in enumerate(models)}
    single = column_of.get(chosen["best_single"], 0)
    lookup = look_up_tasks(data, chosen)
    three = [column_of[m] for m in chosen["best_three"] if m in column_of]
    rows = np.arange(len(scores))
    solvable = highest_scores(scores) > 0
    panel = highest_scores(np.take_along_axis(scores, predictions.panels, axis=1))
    shuffled = [scores[rows, first[rng.permutation(len(first))]] for _ in range(20)]
    values: dict[str, NDArray[Any]] = {
        "accuracy": scores[rows, first],
        "best_single": scores[:, single],
        "task_lookup": scores[rows, lookup],
        "random": average_rows(scores),
        "shuffled": average_rows(np.stack(shuffled, axis=1)),
        "oracle": highest_scores(scores),
        "hit_at_1": _is_hit(scores[rows, first][solvable]),
        "hit_at_3": _is_hit(panel[solvable]),
        "any_correct_at_3": panel,
    }
    if three:
        values["fixed_best_3_any_correct"] = highest_scores(scores[:, three])
    values |= {name: scores[rows, firsts[name]] for name in predictions.routers}
    out: dict[str, Any] = {"n": len(scores)}
    for name, each in values.items():
        known = each[~np.isnan(each)]
        out[name] = float(known.mean()) if len(known) else None
        if name == "best_single":
            out["best_single_model"] = models[single]
    out.setdefault("fixed_best_3_any_correct", None)
    out["calibration"] = measure_calibration(predictions.scores[measured], scores[measured])
    gain = {"gain_over_best_single": values["accuracy"] - values["best_single"]}
    out["ci95"] = {
        name: _bootstrap_interval(each, rng, is_difference=name in gain) for name, each in (values | gain).items()
    }
    return out


def _measure_cost(
    predictions: Predictions, data: Table, single: str, rates: Mapping[str, float | RateMix], weights: Floats
) -> dict[str, Any]:
    """Return shares of the best single model's cost and accuracy, at the rates chosen in training; and a curve.

    They are over the questions on which that model was measured.
    """
    column, rows = data.models.index(single), np.arange(len(weights))
    truth = np.nan_to_num(data.scores)
    usable = np.where(np.isnan(data.scores + data.costs), np.nan, predictions.scores)
    dollars = fill_costs(data.costs)
    weights = weights * (~np.isnan(data.scores[:, column]) & ~np.isnan(usable).all(axis=1))
    single_cost, single_accuracy = float(weights @ dollars[:, column]), float(weights @ truth[:, column])
    if np.isnan(single_cost) or not single_cost or not single_accuracy:
        return dict.fromkeys(rates)

    def shares_of(chosen: NDArray[np.intp]) -> tuple[float, float]:
        paid = np.nan_to_num(dollars[rows, chosen])  # unknown only where no model can be chosen: of no weight
        cost, accuracy = float(weights @ paid), float(weights @ truth[rows, chosen])
        return cost / single_cost, accuracy / single_accuracy

    out: dict[str, Any] = {}
    for name, rate in rates.items():
        chosen = choose_at_mix(usable, predictions.costs, read_rate_mix(rate), data.texts)
        out[name], out[f"accuracy_{name}"] = shares_of(chosen)
    curve = (choose_models(usable, predictions.costs, float(rate)) for rate in COST_RATES[::5] / single_cost)
    points = dict.fromkeys(map(shares_of, curve))
    out["curve"] = [list(point) for point in points]
    return out


def _measure_model(predicted: Floats, scores: Floats) -> dict[str, float | None]:
    measured = ~np.isnan(scores)
    if not measured.any():
        return {"auc": None, "ece": None, "mean_predicted": None, "mean_true": None}
    calibration = measure_calibration(predicted[measured], scores[measured])
    means = {"mean_predicted": float(predicted[measured].mean()), "mean_true": float(scores[measured].mean())}
    return {"auc": calibration["auc"], "ece": calibration["ece"], **means}


def _measure_auc(predicted: Floats, right: NDArray[np.bool_]) -> float | None:
    """Return the probability that a right answer was given a higher score than a wrong one; ties count half."""
    yes, no = int(right.sum()), int((~right).sum())
    if not yes or not no:
        return None
    values, place = np.unique(predicted, return_inverse=True)
    counts = np.bincount(place, minlength=len(values))
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return float((ranks[place][right].sum() - yes * (yes + 1) / 2) / (yes * no))


def _average_any_right(scores: Floats, members: Sequence[int]) -> float:
    return float(np.where(np.isnan(scores), 0.0, scores)[:, list(members)].max(1).mean())


def _is_hit(scores: Floats) -> NDArray[np.float64]:
    """Return 1 for a score above 0, else 0; NaN stays."""
    return np.where(np.isnan(scores), np.nan, scores > 0)


def _bootstrap_interval(values: NDArray[Any], rng: np.random.Generator, *, is_difference: bool) -> list[float] | None:
    """Return the 95 % interval of the mean of known scores, or of their differences, of 1000 resamples."""
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    if np.ptp(values) == 0:
        return list(interval_without_spread(float(values[0]), len(values), is_difference=is_difference))
    means = np.concatenate([values[rng.integers(0, len(values), (50, len(values)))].mean(1) for _ in range(20)])
    return [float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))]


def _average_known(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known else None
