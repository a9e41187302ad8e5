"""Quality against what it takes: every method a point with its intervals and its name, and the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from routemoa.evaluation.report.svg import COLOURS, Chart, format_dollars, open_figure, render_svg, shorten
from routemoa.evaluation.report.table import MEASURES, Row, pareto_front

__all__ = ["draw_quality", "method_style"]

LOOKS = {
    "routemoa": ("blue", "o"),
    "moa": ("vermilion", "s"),
    "smoa": ("purple", "^"),
    "best-single": ("green", "D"),
    "fixed-best-3": ("orange", "v"),
    "vote-all": ("sky", "P"),
    "cascade": ("purple", "X"),
    "random": ("soft", "h"),
    "shuffled": ("soft", "<"),
}
OTHERS = (("soft", "h"), ("orange", "<"), ("sky", ">"), ("green", "p"))
Box = tuple[float, float, float, float]
"""Left, bottom, right and top of a label."""
Spot = tuple[str, float, float]
"""A label's side, and how far it stands from its point."""


def method_style(name: str) -> tuple[str, str]:
    """The colour and the marker of a method, the same in every chart."""
    if name.startswith("single:"):
        return COLOURS["soft"], "d"
    colour, marker = LOOKS.get(name) or OTHERS[sum(name.encode()) % len(OTHERS)]
    return COLOURS[colour], marker


def draw_quality(key: str, rows: Sequence[Row], measure: str) -> Chart | None:
    """Accuracy against what a question takes, with the Pareto front; None where less than two methods have both."""
    placed = {r.method: (r.means[measure], r.accuracy) for r in rows if r.group != "ablation"}
    points = {m: (x, y) for m, (x, y) in placed.items() if x is not None and y is not None}
    if len(points) < 2:
        return None
    of = {r.method: r for r in rows}
    reach = {m: p for m, p in points.items() if of[m].group != "bound"}
    best = pareto_front(reach)
    lowest = min(x for x, _ in points.values())
    log = lowest > 0 and max(x for x, _ in points.values()) > 8 * lowest

    def named(x: float) -> str:
        return format_dollars(x).rstrip("0").rstrip(".") if measure == "cost" else f"{x:,g}"

    with open_figure(540, 420) as figure:
        axis = figure.subplots()
        if log:
            axis.set_xscale("log", subs=(2, 5))
            few = max(x for x, _ in points.values()) < 60 * lowest
            axis.xaxis.set_minor_formatter(lambda x, _: named(x) if few else "")
        axis.xaxis.set_major_formatter(lambda x, _: named(x))
        for name, (x, y) in points.items():
            _point(axis, of[name], (x, y), measure, lowest if log else 0.0)
        right = max(x for x, _ in points.values())
        xs, ys = [reach[m][0] for m in best] + [right], [100 * reach[m][1] for m in best]
        axis.step(xs, [*ys, ys[-1]], where="post", color=COLOURS["ink"], linewidth=1.2, linestyle="--", zorder=1)
        unit = f"{MEASURES[measure]} a question" + (", logarithmic" if log else "")
        axis.set(xlabel=unit, ylabel="right, %")
        axis.margins(0.12, 0.12)
        _labels(figure, axis, {m: (x, 100 * y) for m, (x, y) in points.items()}, best)
        title = f"Quality against {MEASURES[measure]}"
        text = (
            f"{len(points)} methods by {MEASURES[measure]} a question and share right, with 95 % intervals. The dashed "
            f"line is the Pareto front, from cheap to dear: {', '.join(best)}."
        )
        return render_svg(figure, key, title, text)


def _point(axis: Any, row: Row, at: tuple[float, float], measure: str, floor: float) -> None:
    (x, y), (colour, marker) = at, method_style(row.method)
    low, high = row.ci95 or (y, y)
    left, right = row.intervals.get(measure, (x, x))
    bars = {
        "yerr": [[100 * max(0.0, y - low)], [100 * max(0.0, high - y)]],
        "xerr": [[x - max(left, floor / 2)], [right - x]],
    }
    look: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 7, "elinewidth": 1.1, "capsize": 2.5}
    if row.group == "bound":
        look |= {"marker": "*", "markersize": 13, "markerfacecolor": "none", "color": COLOURS["soft"]}
    elif row.group == "mixture":
        look |= {"markersize": 11, "elinewidth": 2}
    elif row.group == "single":
        look |= {"markersize": 5, "elinewidth": 0.7}
    axis.errorbar([x], [100 * y], **bars, linestyle="none", zorder=3, **look)


def _labels(figure: Any, axis: Any, points: Mapping[str, tuple[float, float]], best: Sequence[str]) -> None:
    """A name beside each point, where it covers neither another name nor a point."""
    figure.draw_without_rendering()
    spots = {m: axis.transData.transform(p) for m, p in points.items()}
    frame = axis.get_window_extent()
    taken: list[Box] = [(x - 6, y - 6, x + 6, y + 6) for x, y in spots.values()]
    for name in sorted(points, key=lambda m: (m != "routemoa", m not in best, m.startswith("single:"), m)):
        label = shorten(name.removeprefix("single:"), 22) + (" (unreachable)" if name == "oracle" else "")
        size = 10.5 if name.startswith("single:") else 11.5
        wide, high = len(label) * size * 0.56, size * 1.15
        tries = [
            (side, dx, dy)
            for dy in (7, -8, 19, -20, 31, -32, 43, -44)
            for side, dx in (("left", 8), ("right", -8), ("center", 0))
        ]

        side, dx, dy = min(tries, key=lambda spot: _bad(_box(spots[name], wide, high, spot), spot, frame, taken))
        taken.append(_box(spots[name], wide, high, (side, dx, dy)))
        far = {"arrowstyle": "-", "color": COLOURS["soft"], "linewidth": 0.6, "shrinkB": 4} if abs(dy) > 15 else None
        axis.annotate(
            label,
            points[name],
            (dx, dy),
            textcoords="offset points",
            ha=side,
            va="center",
            fontsize=size,
            fontweight="bold" if name == "routemoa" else "normal",
            color=COLOURS["soft"] if name.startswith("single:") or name == "oracle" else COLOURS["ink"],
            arrowprops=far,
        )


def _box(at: tuple[float, float], wide: float, high: float, spot: Spot) -> Box:
    side, dx, dy = spot
    left = at[0] + dx - {"left": 0.0, "right": wide, "center": wide / 2}[side]
    middle = at[1] + dy
    return left, middle - high / 2, left + wide, middle + high / 2


def _bad(box: Box, spot: Spot, frame: Any, taken: Sequence[Box]) -> float:
    """How ill a name stands there: what it covers, how far it leaves the frame, how far it is from its point."""
    out = max(0.0, frame.x0 - box[0]) + max(0.0, box[2] - frame.x1)
    out += max(0.0, frame.y0 - box[1]) + max(0.0, box[3] - frame.y1)
    return float(sum(_overlap(box, t) for t in taken) + 40 * out + abs(spot[2]))


def _overlap(a: Box, b: Box) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
