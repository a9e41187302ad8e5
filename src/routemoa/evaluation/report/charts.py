"""The charts of a report, each drawn from the figures it shows. Needs matplotlib (extra `plot`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from routemoa.core.text.plural import counted
from routemoa.evaluation.calibration import Calibration
from routemoa.evaluation.formatting import format_points, format_whole_percent, shorten
from routemoa.evaluation.report.figures import Ablation, Saving, ScaleCurve, ScalePoint
from routemoa.evaluation.report.findings import TaskComparison
from routemoa.evaluation.report.headline import OURS
from routemoa.evaluation.report.method_rows import MEASURES, AccuracyGap
from routemoa.evaluation.report.quality_chart import method_style
from routemoa.evaluation.report.svg import COLOURS, WIDTH, Chart, open_figure, render_svg

__all__ = ["draw_ablations", "draw_calibration", "draw_savings", "draw_scale", "draw_shares", "draw_tasks"]

MAX_TASKS = 30
MAX_MODELS = 24
"""A chart shows no more; the table below it has all."""


def draw_savings(key: str, savings: Sequence[Saving]) -> Chart | None:
    """Draw our spending as a share of the dense mixture's; None where nothing can be compared."""
    if not savings:
        return None
    names = [MEASURES[s.measure] for s in savings]
    with open_figure(WIDTH, 90 + 44 * len(savings)) as figure:
        axis = figure.subplots()
        places = range(len(savings))
        spent = [100 * (1 - s.saved) for s in savings]
        # the low end of what is saved is the high end of what is spent
        error = [
            [100 * max(0.0, s.high - s.saved) for s in savings],
            [100 * max(0.0, s.saved - s.low) for s in savings],
        ]
        axis.barh(places, spent, height=0.55, color=COLOURS["blue"], xerr=error, ecolor=COLOURS["ink"], capsize=3)
        axis.axvline(100, color=COLOURS["vermilion"], linestyle="--", linewidth=1.4)
        for place, s in zip(places, savings, strict=True):
            saved, more = format_whole_percent(s.saved), format_whole_percent(-s.saved)
            _label_row(axis, place, f"{saved} saved" if s.saved >= 0 else f"{more} more")
        axis.set_yticks(places, names)
        limit = max(105.0, *(105 * (1 - s.low) for s in savings))
        axis.set(xlabel="% of the dense mixture's (moa, dashed: 100 %)", xlim=(0, limit))
        axis.invert_yaxis()
        axis.grid(axis="y", visible=False)
        shares = ", ".join(f"{name} {x:.0f} %" for name, x in zip(names, spent, strict=True))
        description = f"RouteMoA's spending as a share of the dense mixture's on the same questions: {shares}."
        return render_svg(figure, key, "RouteMoA's spending in % of the dense mixture's", description)


def _label_row(axis: Any, place: float, label: str) -> None:
    """Write a label to the right of the frame, where no bar can be."""
    axis.annotate(
        label, (1, place), (10, 0), xycoords=("axes fraction", "data"), textcoords="offset points", va="center",
        fontsize=12, annotation_clip=False,
    )  # fmt: skip


def draw_tasks(key: str, tasks: Sequence[TaskComparison], baseline: str) -> Chart | None:
    """Draw the questions that only one of two methods answered right, by task; None where there is none."""
    shown = sorted((t for t in tasks if t.helped or t.hurt), key=lambda t: (t.hurt - t.helped, t.task))
    if not shown:
        return None
    left_out = max(0, len(shown) - MAX_TASKS)
    if left_out:  # the tasks with the largest differences are at both ends
        shown = shown[: MAX_TASKS // 2] + shown[-(MAX_TASKS // 2) :]
    with open_figure(WIDTH, 110 + 24 * len(shown)) as figure:
        axis = figure.subplots()
        places = range(len(shown))
        helped, hurt = [t.helped for t in shown], [-t.hurt for t in shown]
        axis.barh(places, helped, color=COLOURS["blue"], height=0.7, label="helped: only routemoa right")
        axis.barh(
            places, hurt, color=COLOURS["orange"], height=0.7, hatch="///", edgecolor=COLOURS["paper"], linewidth=0,
            label=f"hurt: only {shorten(baseline)} right",
        )  # fmt: skip
        axis.axvline(0, color=COLOURS["soft"], linewidth=1)
        width = max(helped) - min(hurt)
        for place, t in zip(places, shown, strict=True):
            if t.helped:
                axis.text(t.helped + width * 0.012, place, str(t.helped), va="center", fontsize=11)
            if t.hurt:
                axis.text(-t.hurt - width * 0.012, place, str(t.hurt), va="center", ha="right", fontsize=11)
        axis.set_yticks(places, [shorten(t.task) for t in shown])
        axis.set(xlim=(min(hurt) - 0.07 * width, max(helped) + 0.07 * width), xlabel="questions")
        axis.xaxis.set_major_locator(_whole_numbers())
        axis.xaxis.set_major_formatter(lambda x, _: f"{abs(x):g}")
        axis.invert_yaxis()
        axis.grid(axis="y", visible=False)
        figure.legend(loc="outside upper center", ncols=2, fontsize=11.5)
        description = (
            f"Helped on {counted(sum(t.helped for t in tasks), 'question')}, hurt on {sum(t.hurt for t in tasks)}"
        )
        description += f", by task; {counted(left_out, 'task')} between left out." if left_out else ", by task."
        return render_svg(
            figure, key, f"Questions that routing helped or hurt, against {shorten(baseline)}", description
        )


def _whole_numbers(max_ticks: int = 8) -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=max_ticks, integer=True)


def draw_calibration(key: str, calibration: Calibration) -> Chart:
    """Draw how often answers of each confidence were right, and how many there are."""
    bins = calibration.bins
    with open_figure(WIDTH, 430) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        upper.plot([0, 100], [0, 100], color=COLOURS["soft"], linewidth=1, linestyle="--", label="perfect calibration")
        x, y = [100 * b.confidence for b in bins], [100 * b.right for b in bins]
        error = [[100 * (b.right - b.ci95[0]) for b in bins], [100 * (b.ci95[1] - b.right) for b in bins]]
        upper.errorbar(
            x, y, yerr=error, color=COLOURS["blue"], marker="o", markersize=6, capsize=3, elinewidth=1.2,
            label="right, with 95 % intervals",
        )  # fmt: skip
        figure.legend(loc="outside upper center", ncols=2, fontsize=11.5)
        upper.set(ylabel="right, %", xlim=(0, 100), ylim=(0, 103))
        lower.bar([50 * (b.low + b.high) for b in bins], [b.n for b in bins], 9, color=COLOURS["blue"])
        lower.set(xlabel="stated confidence, %", ylabel="answers")
        lower.yaxis.set_major_locator(_whole_numbers(3))
        error_points = f"{100 * calibration.ece:.1f} points"
        description = f"Calibration of {calibration.n} stated confidences: expected calibration error {error_points}."
        return render_svg(figure, key, "Stated confidence and accuracy", description)


def draw_shares(
    key: str, title: str, shares: Mapping[str, Mapping[str, float]], columns: Mapping[str, int], unit: str = ""
) -> Chart | None:
    """Draw a cell for each model and column, the darker the larger its share; None where there is no cell.

    Args:
        key: makes the ids of the chart unique.
        title: of the chart.
        shares: model -> column -> share of the questions.
        columns: column -> questions.
        unit: stands before a column's name.
    """
    from matplotlib.patches import Rectangle

    models = list(shares)[:MAX_MODELS]
    largest = sorted(columns, key=lambda c: -columns[c])[:MAX_TASKS]
    names = [c for c in columns if c in largest]
    if not models or not names:
        return None
    with open_figure(540, 130 + 27 * len(models)) as figure:
        axis = figure.subplots()
        for i, model in enumerate(models):
            for j, column in enumerate(names):
                share = shares[model].get(column, 0.0)
                corner, opacity = (j - 0.48, i - 0.46), 0.05 + 0.5 * share
                axis.add_patch(Rectangle(corner, 0.96, 0.92, facecolor=COLOURS["blue"], alpha=opacity, linewidth=0))
                if len(names) <= 14 and share >= 0.005:
                    axis.text(j, i, f"{100 * share:.0f}", ha="center", va="center", fontsize=11)
        axis.set(xlim=(-0.5, len(names) - 0.5), ylim=(len(models) - 0.5, -0.5))
        axis.set_yticks(range(len(models)), [shorten(m) for m in models])
        labels = [shorten(f"{unit}{c}", 18) for c in names]
        is_slanted = len(names) > 4
        axis.set_xticks(
            range(len(names)), labels, rotation=40 if is_slanted else 0, ha="right" if is_slanted else "center"
        )
        axis.tick_params(length=0)
        axis.grid(visible=False)
        axis.spines[:].set_visible(False)
        description = f"{title}, in % of the questions of each column; darker is more. The table below has all figures."
        return render_svg(figure, key, title, description)


def draw_ablations(key: str, ablations: Sequence[Ablation]) -> Chart | None:
    """Draw the difference in accuracy of each ablation to the whole mixture; None where none was run."""
    shown = [(a, a.gap) for a in ablations if a.gap]
    if not shown:
        return None
    with open_figure(WIDTH, 90 + 36 * len(shown)) as figure:
        axis = figure.subplots()
        for place, (_, gap) in enumerate(shown):
            _draw_gap(axis, place, gap)
        axis.axvline(0, color=COLOURS["ink"], linewidth=1)
        axis.set_yticks(range(len(shown)), [f"without {a.description}" for a, _ in shown])
        axis.set(xlabel="points of accuracy relative to the whole mixture", ylim=(len(shown) - 0.4, -0.7))
        axis.grid(axis="y", visible=False)
        gaps = "; ".join(f"without {a.description} {format_points(gap.difference)} points" for a, gap in shown)
        description = f"Difference to the whole mixture with 95 % intervals: {gaps}."
        return render_svg(figure, key, "Accuracy without one part", description)


def _draw_gap(axis: Any, place: float, gap: AccuracyGap) -> None:
    x = 100 * gap.difference
    error = [[x - 100 * gap.low], [100 * gap.high - x]]
    if gap.is_significant:
        style: dict[str, Any] = {"color": COLOURS["blue"], "marker": "o"}
    else:
        style = {"color": COLOURS["soft"], "marker": "D", "markerfacecolor": "none"}
    axis.errorbar([x], [place], xerr=error, markersize=8, capsize=4, **style)
    _label_row(axis, place, format_points(gap.difference))


def draw_scale(key: str, pool: str, curves: Sequence[ScaleCurve]) -> Chart | None:
    """Draw accuracy and spending against the size of the pool."""
    curves = [c for c in curves if not c.method.startswith(f"{OURS}-no-")] or list(curves)
    points = [p for c in curves for p in c.points]
    measure = next((m for m in ("tokens", "calls") if any(getattr(p, m) is not None for p in points)), None)
    with open_figure(WIDTH, 340) as figure:
        axes = figure.subplots(1, 2 if measure else 1, squeeze=False)[0]
        for curve in curves:
            colour, marker = method_style(curve.method)
            style = {"color": colour, "marker": marker, "markersize": 6}
            _draw_accuracy(axes[0], curve.points, label=shorten(curve.method), **style)
            if measure:
                known = [p for p in curve.points if getattr(p, measure) is not None]
                axes[1].plot([p.models for p in known], [getattr(p, measure) for p in known], **style)
        axes[0].set(xlabel="models in the pool", ylabel="right, %")
        if measure:
            axes[1].set(xlabel="models in the pool", ylabel=f"{measure} per question", ylim=(0, None))
        for axis in axes:
            _set_size_ticks(axis, sorted({p.models for p in points}))
        figure.legend(loc="outside upper center", ncols=min(4, len(curves)), fontsize=11.5)
        measures = f"Accuracy with 95 % intervals{f' and {measure}' if measure else ''}"
        description = f"{measures} against the number of models, for " + ", ".join(c.method for c in curves)
        return render_svg(figure, key, f"Pool size: {shorten(pool, 60)}", description)


def _draw_accuracy(axis: Any, points: Sequence[ScalePoint], **style: Any) -> None:
    known = [(p.models, p.accuracy, p.ci95 or (p.accuracy, p.accuracy)) for p in points if p.accuracy is not None]
    y = [100 * accuracy for _, accuracy, _ in known]
    error = [
        [max(0.0, v - 100 * low) for v, (_, _, (low, _)) in zip(y, known, strict=True)],
        [max(0.0, 100 * high - v) for v, (_, _, (_, high)) in zip(y, known, strict=True)],
    ]
    axis.errorbar([models for models, _, _ in known], y, yerr=error, capsize=3, **style)


def _set_size_ticks(axis: Any, sizes: Sequence[int]) -> None:
    if sizes[0] > 0 and sizes[-1] > 8 * sizes[0]:
        axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    if len(sizes) <= 8:
        axis.set_xticks(sizes)
        axis.minorticks_off()
