"""The charts of a report, each from the figures it shows. Needs the extra `eval`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from routemoa.evaluation.report.figures import OURS, Ablation, Saving, ScaleCurve
from routemoa.evaluation.report.findings import Calibration, TaskComparison
from routemoa.evaluation.report.scatter import method_style
from routemoa.evaluation.report.svg import (
    COLOURS,
    WIDTH,
    Chart,
    format_points,
    format_whole_percent,
    open_figure,
    render_svg,
    shorten,
)
from routemoa.evaluation.report.table import MEASURES

__all__ = ["draw_ablations", "draw_calibration", "draw_savings", "draw_scale", "draw_shares", "draw_tasks"]

MOST = {"tasks": 30, "models": 24}  # bars and cells; the table below a chart has all


def draw_savings(key: str, savings: Sequence[Saving]) -> Chart | None:
    """What share of a dense mixture's spending is left; None where nothing can be compared."""
    if not savings:
        return None
    names = [MEASURES[s.measure] for s in savings]
    with open_figure(WIDTH, 90 + 44 * len(savings)) as figure:
        axis = figure.subplots()
        places = range(len(savings))
        left = [100 * (1 - s.saved) for s in savings]
        # the low end of what is saved is the high end of what is left
        error = [
            [100 * max(0.0, s.high - s.saved) for s in savings],
            [100 * max(0.0, s.saved - s.low) for s in savings],
        ]
        axis.barh(places, left, height=0.55, color=COLOURS["blue"], xerr=error, ecolor=COLOURS["ink"], capsize=3)
        axis.axvline(100, color=COLOURS["vermilion"], linestyle="--", linewidth=1.4)
        for place, s in zip(places, savings, strict=True):
            end = 100 * (1 - s.low)
            said = (
                f"{format_whole_percent(s.saved)} saved" if s.saved >= 0 else f"{format_whole_percent(-s.saved)} more"
            )
            axis.annotate(said, (end, place), (7, 0), textcoords="offset points", va="center", fontsize=12)
        axis.set_yticks(places, names)
        axis.set(xlabel="% of the dense mixture's (moa's, dashed: 100 %)", xlim=(0, max(118, *(x * 1.3 for x in left))))
        axis.invert_yaxis()
        axis.grid(axis="y", visible=False)
        told = ", ".join(f"{n} {x:.0f} %" for n, x in zip(names, left, strict=True))
        text = f"RouteMoA's spending as a share of the dense mixture's on the same questions: {told}."
        return render_svg(figure, key, "Spending beside a dense mixture", text)


def draw_tasks(key: str, tasks: Sequence[TaskComparison], against: str) -> Chart | None:
    """Questions that only one of the two got right, by task."""
    shown = sorted((t for t in tasks if t.helped or t.hurt), key=lambda t: (t.hurt - t.helped, t.task))
    if not shown:
        return None
    left_out = max(0, len(shown) - MOST["tasks"])
    if left_out:  # the ends say the most
        half = MOST["tasks"] // 2
        shown = shown[:half] + shown[-half:]
    with open_figure(WIDTH, 110 + 24 * len(shown)) as figure:
        axis = figure.subplots()
        places = range(len(shown))
        good, bad = [t.helped for t in shown], [-t.hurt for t in shown]
        axis.barh(places, good, color=COLOURS["blue"], height=0.7, label="helped: only routemoa right")
        axis.barh(
            places, bad, color=COLOURS["orange"], height=0.7, hatch="///", edgecolor=COLOURS["paper"], linewidth=0,
            label=f"hurt: only {shorten(against)} right",
        )  # fmt: skip
        axis.axvline(0, color=COLOURS["soft"], linewidth=1)
        most = max(good) - min(bad)
        for place, t in zip(places, shown, strict=True):
            if t.helped:
                axis.text(t.helped + most * 0.012, place, str(t.helped), va="center", fontsize=11)
            if t.hurt:
                axis.text(-t.hurt - most * 0.012, place, str(t.hurt), va="center", ha="right", fontsize=11)
        axis.set_yticks(places, [shorten(t.task) for t in shown])
        axis.set(xlim=(min(bad) - 0.07 * most, max(good) + 0.07 * most), xlabel="questions")
        axis.xaxis.set_major_locator(_whole())
        axis.xaxis.set_major_formatter(lambda x, _: f"{abs(x):g}")
        axis.invert_yaxis()
        axis.grid(axis="y", visible=False)
        figure.legend(loc="outside upper center", ncols=2, fontsize=11.5)
        text = f"Helped on {sum(t.helped for t in tasks)} questions, hurt on {sum(t.hurt for t in tasks)}, by task"
        text += f"; the {left_out} tasks between are left out." if left_out else "."
        return render_svg(figure, key, f"Where routing helped and hurt, against {shorten(against)}", text)


def _whole(most: int = 8) -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=most, integer=True)


def draw_calibration(key: str, found: Calibration) -> Chart:
    """How often answers of each confidence were right, and how many there are."""
    with open_figure(WIDTH, 430) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        upper.plot([0, 100], [0, 100], color=COLOURS["soft"], linewidth=1, linestyle="--")
        upper.annotate("as often as stated", (78, 78), (0, -8), textcoords="offset points", rotation=0, va="top",
                       ha="left", fontsize=11, color=COLOURS["soft"])  # fmt: skip
        x, y = [100 * b.confidence for b in found.bins], [100 * b.right for b in found.bins]
        error = [[100 * (b.right - b.ci95[0]) for b in found.bins], [100 * (b.ci95[1] - b.right) for b in found.bins]]
        upper.errorbar(x, y, yerr=error, color=COLOURS["blue"], marker="o", markersize=6, capsize=3, elinewidth=1.2)
        upper.set(ylabel="right, %", xlim=(0, 100), ylim=(0, 103))
        lower.bar([50 * (b.low + b.high) for b in found.bins], [b.n for b in found.bins], 9, color=COLOURS["blue"])
        lower.set(xlabel="stated confidence, %", ylabel="answers")
        lower.yaxis.set_major_locator(_whole(3))
        text = f"Reliability of {found.n} stated confidences: expected calibration error {100 * found.ece:.1f} points."
        return render_svg(figure, key, "Stated confidence against the share that was right", text)


def draw_shares(
    key: str, title: str, cells: Mapping[str, Mapping[str, float]], columns: Mapping[str, int], unit: str = ""
) -> Chart | None:
    """A cell for each model and column, the fuller the larger its share of that column's questions."""
    from matplotlib.patches import Rectangle

    models = list(cells)[: MOST["models"]]
    names = sorted(columns, key=lambda c: -columns[c])[: MOST["tasks"]]
    names = [c for c in columns if c in names]
    if not models or not names:
        return None
    with open_figure(540, 130 + 27 * len(models)) as figure:
        axis = figure.subplots()
        for i, model in enumerate(models):
            for j, column in enumerate(names):
                share = cells[model].get(column, 0.0)
                spot = (j - 0.48, i - 0.46)
                axis.add_patch(
                    Rectangle(spot, 0.96, 0.92, facecolor=COLOURS["blue"], alpha=0.05 + 0.5 * share, linewidth=0)
                )
                if len(names) <= 14 and share >= 0.005:
                    axis.text(j, i, f"{100 * share:.0f}", ha="center", va="center", fontsize=11)
        axis.set(xlim=(-0.5, len(names) - 0.5), ylim=(len(models) - 0.5, -0.5))
        axis.set_yticks(range(len(models)), [shorten(m) for m in models])
        labels = [shorten(f"{unit}{c}", 18) for c in names]
        slanted = len(names) > 4
        axis.set_xticks(range(len(names)), labels, rotation=40 if slanted else 0, ha="right" if slanted else "center")
        axis.tick_params(length=0)
        axis.grid(visible=False)
        axis.spines[:].set_visible(False)
        text = f"{title}, in % of the questions of each column; the darker, the more. The table below has every figure."
        return render_svg(figure, key, title, text)


def draw_ablations(key: str, ablations: Sequence[Ablation]) -> Chart | None:
    """What is lost, in points, when one part is taken away."""
    shown = [(a, a.gap) for a in ablations if a.gap]
    if not shown:
        return None
    with open_figure(WIDTH, 90 + 36 * len(shown)) as figure:
        axis = figure.subplots()
        for place, (_, gap) in enumerate(shown):
            x = 100 * gap.difference
            error = [[x - 100 * gap.low], [100 * gap.high - x]]
            sure = gap.high < 0 or gap.low > 0
            axis.errorbar(
                [x], [place], xerr=error, color=COLOURS["blue" if sure else "soft"], marker="o" if sure else "D",
                markersize=8, capsize=4, markerfacecolor=None if sure else "none",
            )  # fmt: skip
            axis.annotate(
                format_points(gap.difference), (x, place), (0, 9), textcoords="offset points", ha="center", fontsize=11
            )
        axis.axvline(0, color=COLOURS["ink"], linewidth=1)
        axis.set_yticks(range(len(shown)), [f"without {a.description}" for a, _ in shown])
        axis.set(xlabel="points of accuracy beside the whole method", ylim=(len(shown) - 0.4, -0.7))
        axis.grid(axis="y", visible=False)
        told = "; ".join(f"without {a.description} {format_points(g.difference)} points" for a, g in shown)
        return render_svg(
            figure, key, "What each part adds", f"Difference to the whole method with 95 % intervals: {told}."
        )


def draw_scale(key: str, pool: str, curves: Sequence[ScaleCurve]) -> Chart | None:
    """Accuracy and spending as the pool grows."""
    curves = [c for c in curves if not c.method.startswith(f"{OURS}-no-")] or list(curves)
    points = [p for c in curves for p in c.points]
    spent = next((m for m in ("tokens", "calls") if any(getattr(p, m) is not None for p in points)), None)
    with open_figure(WIDTH, 340) as figure:
        axes = figure.subplots(1, 2 if spent else 1, squeeze=False)[0]
        for curve in curves:
            colour, marker = method_style(curve.method)
            right = [p for p in curve.points if p.accuracy is not None]
            y = [100 * (p.accuracy or 0) for p in right]
            ends = [p.ci95 or (p.accuracy or 0, p.accuracy or 0) for p in right]
            error = [
                [max(0.0, v - 100 * low) for v, (low, _) in zip(y, ends, strict=True)],
                [max(0.0, 100 * high - v) for v, (_, high) in zip(y, ends, strict=True)],
            ]
            look = {"color": colour, "marker": marker, "markersize": 6}
            axes[0].errorbar([p.models for p in right], y, yerr=error, label=shorten(curve.method), capsize=3, **look)
            if spent:
                known = [p for p in curve.points if getattr(p, spent) is not None]
                axes[1].plot([p.models for p in known], [getattr(p, spent) for p in known], **look)
        axes[0].set(xlabel="models in the pool", ylabel="right, %")
        if spent:
            axes[1].set(xlabel="models in the pool", ylabel=f"{spent} a question", ylim=(0, None))
        sizes = sorted({p.models for p in points})
        for axis in axes:
            if sizes[0] > 0 and sizes[-1] > 8 * sizes[0]:
                axis.set_xscale("log", base=2)
            axis.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
            if len(sizes) <= 8:
                axis.set_xticks(sizes)
                axis.minorticks_off()
        figure.legend(loc="outside upper center", ncols=min(4, len(curves)), fontsize=11.5)
        text = f"Accuracy with 95 % intervals{f' and {spent}' if spent else ''} against the number of models, for "
        return render_svg(
            figure, key, f"Growth with the pool: {shorten(pool, 60)}", text + ", ".join(c.method for c in curves)
        )
