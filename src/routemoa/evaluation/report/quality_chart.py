"""Draw accuracy against spending: every method a labelled point with its intervals, and the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from routemoa.core.text.dollars import format_dollars
from routemoa.core.text.plural import counted
from routemoa.evaluation.formatting import shorten
from routemoa.evaluation.report.method_rows import MEASURES, MethodRow, pareto_front
from routemoa.evaluation.report.svg import COLOURS, Chart, open_figure, render_svg

__all__ = ["draw_quality", "method_style"]

STYLES = {
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
OTHER_STYLES = (("soft", "h"), ("orange", "<"), ("sky", ">"), ("green", "p"))
Points = Mapping[str, tuple[float, float]]
"""Method -> spending and accuracy."""


class Box(Struct, frozen=True):
    """A rectangle in the figure's points."""

    left: float
    bottom: float
    right: float
    top: float

    def overlap(self, other: Box) -> float:
        """Return the area that both cover."""
        width = max(0.0, min(self.right, other.right) - max(self.left, other.left))
        return width * max(0.0, min(self.top, other.top) - max(self.bottom, other.bottom))


Align = Literal["left", "right", "center"]


class LabelPlace(Struct, frozen=True):
    """Where a label stands relative to its point: its alignment and its offset in points."""

    align: Align
    dx: float
    dy: float

    def box(self, x: float, y: float, width: float, height: float) -> Box:
        """Return the box of a label of this size for a point at (x, y)."""
        left = x + self.dx - {"left": 0.0, "right": width, "center": width / 2}[self.align]
        middle = y + self.dy
        return Box(left, middle - height / 2, left + width, middle + height / 2)


ALIGNMENTS: tuple[tuple[Align, float], ...] = (("left", 8), ("right", -8), ("center", 0))
LABEL_PLACES = [
    LabelPlace(align, dx * reach, dy)
    for dy in (7, -8, 19, -20, 31, -32, 43, -44, 56, -57)
    for align, dx in ALIGNMENTS
    for reach in (1, 3, 6)
    if dx or reach == 1
]
MARKER, LINE = 6.0, 1.5
"""Points around the centre of a marker and of a line that a label should leave free."""


def method_style(method: str) -> tuple[str, str]:
    """Return the colour and the marker of a method, the same in every chart."""
    if method.startswith("single:"):
        return COLOURS["soft"], "d"
    colour, marker = STYLES.get(method) or OTHER_STYLES[sum(method.encode()) % len(OTHER_STYLES)]
    return COLOURS[colour], marker


def draw_quality(key: str, rows: Sequence[MethodRow], measure: str) -> Chart | None:
    """Draw accuracy against a measure per question, without ablations; None where fewer than two methods have both."""
    row_of = {row.method: row for row in rows if row.group != "ablation"}
    values = {method: (row.means[measure], row.accuracy) for method, row in row_of.items()}
    points = {method: (x, y) for method, (x, y) in values.items() if x is not None and y is not None}
    if len(points) < 2:
        return None
    reachable = {method: point for method, point in points.items() if row_of[method].group != "bound"}
    front = pareto_front(reachable)
    lowest, highest = min(x for x, _ in points.values()), max(x for x, _ in points.values())
    is_log = lowest > 0 and highest > 8 * lowest
    with open_figure(540, 420) as figure:
        axis = figure.subplots()
        _set_scale(axis, measure, is_log=is_log, label_minor_ticks=highest < 60 * lowest)
        obstacles: list[Box] = []
        for method, point in points.items():
            obstacles += _draw_point(axis, row_of[method], point, measure, lowest if is_log else 0.0)
        xs, ys = [reachable[m][0] for m in front] + [highest], [100 * reachable[m][1] for m in front]
        axis.step(xs, [*ys, ys[-1]], where="post", color=COLOURS["ink"], linewidth=1.2, linestyle="--", zorder=1)
        obstacles += _step_lines(xs, [*ys, ys[-1]])
        unit = f"{MEASURES[measure]} per question" + (", logarithmic" if is_log else "")
        axis.set(xlabel=unit, ylabel="right, %")
        axis.margins(0.12, 0.12)
        _draw_labels(figure, axis, {m: (x, 100 * y) for m, (x, y) in points.items()}, front, obstacles)
        description = (
            f"{counted(len(points), 'method')} by {MEASURES[measure]} per question and accuracy, with 95 % "
            "intervals. The dashed "
            f"line is the Pareto front, cheapest first: {', '.join(front)}."
        )
        return render_svg(figure, key, f"Accuracy against {MEASURES[measure]}", description)


def _set_scale(axis: Any, measure: str, *, is_log: bool, label_minor_ticks: bool) -> None:
    def label(x: float) -> str:
        return format_dollars(x).rstrip("0").rstrip(".") if measure == "cost" else f"{x:,g}"

    if is_log:
        axis.set_xscale("log", subs=(2, 5))
        axis.xaxis.set_minor_formatter(lambda x, _: label(x) if label_minor_ticks else "")
    axis.xaxis.set_major_formatter(lambda x, _: label(x))


def _step_lines(xs: Sequence[float], ys: Sequence[float]) -> list[Box]:
    """Return the lines of a front that goes right, then up, in data coordinates."""
    flat = [Box(a, y, b, y) for a, b, y in zip(xs, xs[1:], ys, strict=False)]
    return flat + [Box(x, a, x, b) for x, a, b in zip(xs[1:], ys, ys[1:], strict=False)]


def _draw_point(axis: Any, row: MethodRow, point: tuple[float, float], measure: str, floor: float) -> list[Box]:
    """Draw a method's marker with its error bars, which end above half of `floor` on a logarithmic axis.

    Returns the error bars, in data coordinates.
    """
    (x, y), (colour, marker) = point, method_style(row.method)
    low, high = row.ci95 or (y, y)
    left, right = row.intervals.get(measure, (x, x))
    bars = {
        "yerr": [[100 * max(0.0, y - low)], [100 * max(0.0, high - y)]],
        "xerr": [[x - max(left, floor / 2)], [right - x]],
    }
    style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 7, "elinewidth": 1.1, "capsize": 2.5}
    if row.group == "bound":
        style |= {"marker": "*", "markersize": 13, "markerfacecolor": "none", "color": COLOURS["soft"]}
    elif row.group == "mixture":
        style |= {"markersize": 11, "elinewidth": 2}
    elif row.group == "single":
        style |= {"markersize": 5, "elinewidth": 0.7}
    axis.errorbar([x], [100 * y], **bars, linestyle="none", zorder=3, **style)
    return [Box(x, 100 * low, x, 100 * high), Box(x - bars["xerr"][0][0], 100 * y, right, 100 * y)]


def _draw_labels(figure: Any, axis: Any, points: Points, front: Sequence[str], obstacles: Sequence[Box]) -> None:
    """Label each point where the label covers the least of labels, markers, error bars and the front.

    `obstacles` are the bars and lines in data coordinates.
    """
    figure.draw_without_rendering()
    positions = {m: axis.transData.transform(p) for m, p in points.items()}
    frame = axis.get_window_extent()
    taken = [Box(x - MARKER, y - MARKER, x + MARKER, y + MARKER) for x, y in positions.values()]
    taken += [_to_points(axis, box) for box in obstacles]
    for method in sorted(points, key=lambda m: (m != "routemoa", m not in front, m.startswith("single:"), m)):
        is_single = method.startswith("single:")
        label = shorten(method.removeprefix("single:"), 22) + (" (upper bound)" if method == "oracle" else "")
        font_size = 10.5 if is_single else 11.5
        x, y = positions[method]
        width, height = len(label) * font_size * 0.58, font_size * 1.15
        boxes = {place: place.box(x, y, width, height) for place in LABEL_PLACES}
        place = _choose_place(boxes, frame, taken)
        taken.append(boxes[place])
        line = {"arrowstyle": "-", "color": COLOURS["soft"], "linewidth": 0.6, "shrinkB": 4}
        is_far = abs(place.dy) > 15 or abs(place.dx) > 10
        axis.annotate(
            label,
            points[method],
            (place.dx, place.dy),
            textcoords="offset points",
            ha=place.align,
            va="center",
            fontsize=font_size,
            fontweight="bold" if method == "routemoa" else "normal",
            color=COLOURS["soft"] if is_single or method == "oracle" else COLOURS["ink"],
            arrowprops=line if is_far else None,
        )


def _to_points(axis: Any, box: Box) -> Box:
    """Return a line in data coordinates as a box in the figure's points that a label should leave free."""
    left, bottom = axis.transData.transform((box.left, box.bottom))
    right, top = axis.transData.transform((box.right, box.top))
    return Box(left - LINE, bottom - LINE, right + LINE, top + LINE)


def _choose_place(boxes: Mapping[LabelPlace, Box], frame: Any, taken: Sequence[Box]) -> LabelPlace:
    return min(boxes, key=lambda place: _penalty(place, boxes[place], frame, taken))


def _penalty(place: LabelPlace, box: Box, frame: Any, taken: Sequence[Box]) -> float:
    """Return how bad a place is: what it covers, how far it leaves the frame, how far it is from its point."""
    outside = max(0.0, frame.x0 - box.left) + max(0.0, box.right - frame.x1)
    outside += max(0.0, frame.y0 - box.bottom) + max(0.0, box.top - frame.y1)
    return float(2 * sum(box.overlap(other) for other in taken) + 40 * outside + abs(place.dy) + abs(place.dx))
