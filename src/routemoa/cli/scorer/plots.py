"""Pictures of an evaluation: reliability, hit rate against panel size, quality against cost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from routemoa.core.errors import ConfigError
from routemoa.training.metrics import BINS, Predictions
from routemoa.training.table import Table

__all__ = ["check", "draw"]

ENDINGS = (".png", ".svg")


def check(path: str) -> None:
    """Fail before the work, not after: matplotlib must be there, and the name end in .png or .svg."""
    if not path.endswith(ENDINGS):
        raise ConfigError(f"--plot {path}: the name must end in .png or .svg")
    try:
        import matplotlib  # noqa: F401
    except ImportError as e:
        raise ConfigError('--plot needs matplotlib:  pip install "routemoa[plot]"') from e


def draw(path: str, said: Predictions, data: Table, figures: Mapping[str, Any]) -> None:
    """Write the pictures that the records allow, side by side, to a PNG or SVG file."""
    check(path)
    from matplotlib.figure import Figure

    cost = figures.get("cost", {}).get("curve")
    figure = Figure(figsize=(15 if cost else 10, 4.6), layout="constrained")
    axes = figure.subplots(1, 3 if cost else 2)
    _reliability(axes[0], said, data, figures)
    _hits(axes[1], said, data, figures)
    if cost:
        _cost(axes[2], cost, figures)
    part = Path(f"{path}.part")
    figure.savefig(part, format=path[-3:], dpi=140)
    part.replace(path)


def _reliability(axis: Any, said: Predictions, data: Table, figures: Mapping[str, Any]) -> None:
    seen = ~np.isnan(data.scores)
    predicted, truth = said.scores[seen], data.scores[seen]
    bins = np.clip((predicted * BINS).astype(int), 0, BINS - 1)
    points = [(predicted[bins == b].mean(), truth[bins == b].mean(), (bins == b).sum()) for b in np.unique(bins)]
    x, y, n = (np.array(v) for v in zip(*points, strict=True))
    error = 1.96 * np.sqrt(y * (1 - y) / n)
    axis.plot([0, 1], [0, 1], color="0.6", linewidth=1, label="perfectly calibrated")
    axis.errorbar(x, y, yerr=error, fmt="o-", markersize=4, label=f"scorer, ECE {figures['calibration']['ece']:.3f}")
    axis.set(
        xlabel="predicted probability", ylabel="share that was right", xlim=(0, 1), ylim=(0, 1), title="Reliability"
    )
    axis.legend(loc="upper left", frameon=False)


def _hits(axis: Any, said: Predictions, data: Table, figures: Mapping[str, Any]) -> None:
    filled = np.where(np.isnan(data.scores), 0.0, data.scores)
    most = min(8, filled.shape[1])
    order = np.argsort(-np.where(np.isnan(data.scores), -1.0, said.scores), axis=1)
    ks = np.arange(1, most + 1)
    best = [np.take_along_axis(filled, order[:, :k], axis=1).max(1).mean() for k in ks]
    means = np.argsort(-filled.mean(0))
    fixed = [filled[:, means[:k]].max(1).mean() for k in ks]
    axis.plot(ks, best, "o-", markersize=4, label="the k highest scores")
    axis.plot(ks, fixed, "s--", markersize=4, color="0.5", label="the k best on average (of these questions)")
    axis.plot(min(3, most), figures["any_correct_at_3"], "*", markersize=14, label="set head, three models")
    axis.axhline(figures["oracle"], color="0.75", linewidth=1, label="oracle")
    axis.set(xlabel="models asked, k", ylabel="any of them right", title="Hit rate", xticks=ks)
    axis.legend(loc="lower right", frameon=False)


def _cost(axis: Any, curve: list[list[float]], figures: Mapping[str, Any]) -> None:
    x, y = zip(*sorted(map(tuple, curve)), strict=True)
    axis.plot(x, y, "-", label="scorer, dearer and cheaper trade-offs")
    for name in ("at_97", "at_99"):
        axis.plot(figures["cost"][name], figures["cost"][f"accuracy_{name}"], "o", label=f"{name}, chosen in training")
    axis.plot(1, 1, "k*", markersize=12, label=figures["best_single_model"])
    axis.set(xlabel="cost, share of the best single model's", ylabel="accuracy, share of the best single model's")
    axis.set(xlim=(0, 1.1), ylim=(min(0.85, *y), max(1.02, *y)), title="Quality against cost")
    axis.legend(loc="lower right", frameon=False)
