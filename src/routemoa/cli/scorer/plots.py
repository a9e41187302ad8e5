"""Plots of a scorer's evaluation: reliability, hit rate against panel size, quality against cost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from routemoa.core.errors import ConfigError, MissingExtra
from routemoa.scoring.mean_scores import average_scores
from routemoa.training.metrics import BINS, Predictions
from routemoa.training.table import Table, highest_scores

__all__ = ["check_plot", "draw_plot"]

SUFFIXES = (".png", ".svg")
MAX_PANEL = 8  # models of the largest panel whose hit rate is drawn


def check_plot(path: str) -> None:
    """Check, before the work, that the plot can be drawn. Raises ConfigError, MissingExtra."""
    if not path.endswith(SUFFIXES):
        raise ConfigError(f"--plot {path}: the name must end in .png or .svg")
    try:
        import matplotlib  # noqa: F401
    except ImportError as e:
        raise MissingExtra("matplotlib, which draws the plot,", "plot") from e


def draw_plot(path: str, predictions: Predictions, data: Table, figures: Mapping[str, Any]) -> None:
    """Write the plots that the records allow, side by side, to a PNG or SVG file.

    Args:
        path: the file to write.
        predictions: what the scorer predicted.
        data: the records.
        figures: of `assess`.
    """
    check_plot(path)
    from matplotlib.figure import Figure

    cost = figures.get("cost", {}).get("curve")
    figure = Figure(figsize=(15 if cost else 10, 4.6), layout="constrained")
    axes = figure.subplots(1, 3 if cost else 2)
    _draw_reliability(axes[0], predictions, data, figures)
    _draw_hit_rate(axes[1], predictions, data, figures)
    if cost:
        _draw_cost(axes[2], cost, figures)
    part = Path(f"{path}.part")
    figure.savefig(part, format=path[-3:], dpi=140)
    part.replace(path)


def _draw_reliability(axis: Any, predictions: Predictions, data: Table, figures: Mapping[str, Any]) -> None:
    measured = ~np.isnan(data.scores)
    predicted, truth = predictions.scores[measured], data.scores[measured]
    bins = np.clip((predicted * BINS).astype(int), 0, BINS - 1)
    points = [(predicted[bins == b].mean(), truth[bins == b].mean(), (bins == b).sum()) for b in np.unique(bins)]
    x, y, n = (np.array(v) for v in zip(*points, strict=True))
    error = 1.96 * np.sqrt(y * (1 - y) / n)
    axis.plot([0, 1], [0, 1], color="0.6", linewidth=1, label="perfectly calibrated")
    axis.errorbar(x, y, yerr=error, fmt="o-", markersize=4, label=f"scorer, ECE {figures['calibration']['ece']:.3f}")
    axis.set(
        xlabel="predicted probability", ylabel="share of right answers", xlim=(0, 1), ylim=(0, 1), title="Reliability"
    )
    axis.legend(loc="upper left", frameon=False)


def _draw_hit_rate(axis: Any, predictions: Predictions, data: Table, figures: Mapping[str, Any]) -> None:
    """Draw how often any of k models is right, of those that were measured on the question."""
    scores = data.scores
    largest = min(MAX_PANEL, scores.shape[1])
    by_prediction = np.argsort(-np.where(np.isnan(scores), -1.0, predictions.scores), axis=1)
    by_mean = np.argsort(-average_scores(scores))
    ks = np.arange(1, largest + 1)
    predicted = [np.nanmean(highest_scores(np.take_along_axis(scores, by_prediction[:, :k], axis=1))) for k in ks]
    fixed = [np.nanmean(highest_scores(scores[:, by_mean[:k]])) for k in ks]
    axis.plot(ks, predicted, "o-", markersize=4, label="the k highest predictions")
    axis.plot(ks, fixed, "s--", markersize=4, color="0.5", label="the k best on average (on these questions)")
    axis.plot(min(3, largest), figures["any_correct_at_3"], "*", markersize=14, label="set head, three models")
    axis.axhline(figures["oracle"], color="0.75", linewidth=1, label="oracle")
    axis.set(xlabel="models called, k", ylabel="any of them right", title="Hit rate", xticks=ks)
    axis.legend(loc="lower right", frameon=False)


def _draw_cost(axis: Any, curve: list[list[float]], figures: Mapping[str, Any]) -> None:
    x, y = zip(*sorted(map(tuple, curve)), strict=True)
    axis.plot(x, y, "-", label="scorer, at several trade-offs")
    for name in ("at_97", "at_99"):
        axis.plot(figures["cost"][name], figures["cost"][f"accuracy_{name}"], "o", label=f"{name}, chosen in training")
    axis.plot(1, 1, "k*", markersize=12, label=figures["best_single_model"])
    axis.set(xlabel="cost, share of the best single model's", ylabel="accuracy, share of the best single model's")
    axis.set(xlim=(0, 1.1), ylim=(min(0.85, *y), max(1.02, *y)), title="Quality against cost")
    axis.legend(loc="lower right", frameon=False)
