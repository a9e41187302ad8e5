"""The curve of quality over cost: as text, or as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from routemoa.cli.scorer.plots import check_plot

__all__ = ["draw_curve", "draw_text_curve"]

WIDTH, HEIGHT = 64, 14
"""Characters of a curve as text, at most."""
LABELS, MIN_WIDTH = 8, 16
"""Characters left of a curve, and the fewest of one."""


def draw_text_curve(figures: Mapping[str, Any], columns: int = LABELS + WIDTH) -> str:
    """Return the curve as lines of text that fit these columns."""
    curve, width = figures["curve"], max(MIN_WIDTH, min(WIDTH, columns - LABELS))
    points = [(p["cost"], p["quality"]) for p in curve]
    right = max(1.0, *(x for x, _ in points)) * 1.02
    bottom, top = min(y for _, y in points), max(1.0, *(y for _, y in points))
    height = (top - bottom) or 1.0
    cells = [[" "] * width for _ in range(HEIGHT)]

    def mark(cost: float, quality: float, sign: str) -> None:
        column, row = int(cost / right * (width - 1)), int((top - quality) / height * (HEIGHT - 1))
        cells[row][column] = sign

    for (x0, y0), (x1, y1) in pairwise(points):
        for step in range(width):
            mark(x0 + (x1 - x0) * step / width, y0 + (y1 - y0) * step / width, ".")
    for x, y in points:
        mark(x, y, "o")
    mark(1.0, 1.0, "*")
    mark(figures["chosen"]["cost"], figures["chosen"]["quality"], "X")
    lines = []
    for i, row in enumerate(cells):
        label = f"{top - height * i / (HEIGHT - 1):.3f}" if i % 4 == 0 or i == HEIGHT - 1 else ""
        lines.append(f"{label:>6} |{''.join(row).rstrip()}")
    lines.append(f"{'':6} +{'-' * width}")
    lines.append(f"{'':7} 0{'cost':^{width - 8}}{right:.2f}")
    return "\n".join(lines)


def draw_curve(path: str, figures: Mapping[str, Any]) -> None:
    """Write the curve with its intervals to a PNG or SVG file."""
    check_plot(path)
    from matplotlib.figure import Figure

    curve, chosen = figures["curve"], figures["chosen"]
    figure = Figure(figsize=(8, 5), layout="constrained")
    axis = figure.subplots()
    x, y = [p["cost"] for p in curve], [p["quality"] for p in curve]
    low, high = [p["quality_ci95"][0] for p in curve], [p["quality_ci95"][1] for p in curve]
    axis.fill_between(x, low, high, alpha=0.15, label="95 %, by question")
    axis.plot(x, y, "o-", markersize=4, label="cross-validated")
    axis.plot(1, 1, "k*", markersize=12, label=figures["best_single_model"])
    axis.errorbar(
        chosen["cost"],
        chosen["quality"],
        xerr=_distances(chosen["cost"], chosen["cost_ci95"]),
        yerr=_distances(chosen["quality"], chosen["quality_ci95"]),
        fmt="D",
        label="chosen",
    )
    axis.set(xlabel="cost, share of the best single model's", ylabel="accuracy, share of the best single model's")
    axis.set_xlim(left=0)
    axis.legend(loc="lower right", frameon=False)
    part = Path(f"{path}.part")
    figure.savefig(part, format=path[-3:], dpi=140)
    part.replace(path)


def _distances(value: float, interval: list[float]) -> list[list[float]]:
    return [[max(0.0, value - interval[0])], [max(0.0, interval[1] - value)]]
