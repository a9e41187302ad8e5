"""The views of the page's sections, each from the figures of the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from routemoa.evaluation.report import charts
from routemoa.evaluation.report.caveats import UNFINISHED, explain_unknown
from routemoa.evaluation.report.figures import Report
from routemoa.evaluation.report.findings import NO_CHOICE
from routemoa.evaluation.report.formatting import (
    format_change,
    format_interval,
    format_measure,
    format_percent,
    format_points,
    format_ratio,
    format_whole_percent,
    shorten,
)
from routemoa.evaluation.report.headline import DENSE, OURS
from routemoa.evaluation.report.method_rows import (
    GROUPS,
    MEASURES,
    METHOD_DESCRIPTIONS,
    AccuracyGap,
    MethodRow,
)
from routemoa.evaluation.report.quality_chart import draw_quality
from routemoa.evaluation.report.views import (
    AblationsView,
    CalibrationView,
    Cell,
    Column,
    Figure,
    LayersView,
    MethodsView,
    QualityView,
    Row,
    RowGroup,
    SavingsView,
    SummaryView,
    Table,
    Tile,
    TileGroup,
    build_table,
)

__all__ = [
    "view_ablations",
    "view_calibration",
    "view_layers",
    "view_methods",
    "view_models",
    "view_quality",
    "view_savings",
    "view_scale",
    "view_summary",
]


def view_summary(report: Report) -> SummaryView:
    """Return the headline with the main differences and ratios."""
    headline = report.headline
    groups = (
        TileGroup("Relative to the best single model", tuple(_tiles(headline.gap, headline.ratios))),
        TileGroup("Relative to the dense mixture (moa)", tuple(_tiles(headline.dense_gap, headline.dense_ratios))),
    )
    return SummaryView(
        headline.sentence,
        headline.verdict,
        tuple(group for group in groups if group.tiles),
        next((caveat for caveat in report.caveats if caveat.startswith(UNFINISHED)), None),
    )


def _tiles(gap: AccuracyGap | None, ratios: Mapping[str, float | None]) -> Iterator[Tile]:
    if gap:
        interval = f"95 %: {format_points(gap.low)} to {format_points(gap.high)}"
        yield Tile("points of accuracy", format_points(gap.difference), interval)
    for measure in ("cost", "tokens", "completion_tokens", "seconds"):
        ratio = ratios.get(measure)
        if ratio is not None and (measure != "completion_tokens" or ratios.get("tokens") is None):
            yield Tile(MEASURES[measure], format_ratio(ratio), format_change(ratio))


def view_methods(report: Report) -> MethodsView:
    """Return the table of all methods."""
    baseline = shorten(report.baseline or "the best single model")
    headings = ["right (95\u00a0%)", f"over {baseline}, points (95\u00a0%)", "questions", "failed"]
    headings += [MEASURES[m] for m in report.measures] + ["saved against moa"]
    groups = [
        RowGroup(heading, tuple(_view_method(row, report) for row in report.rows if row.group == group))
        for group, heading in GROUPS.items()
    ]
    table = Table(
        "All methods, means per question", (Column("method", "heading"), *map(Column, headings)), tuple(groups)
    )
    measures = dict.fromkeys((*report.measures, "seconds"))
    return MethodsView(table, tuple(why for m in measures if (why := explain_unknown(m, report.rows))))


def _view_method(row: MethodRow, report: Report) -> Row:
    dollars_else_tokens = [row.dense_ratios.get(m) for m in ("cost", report.measures[1], "calls")]
    ratio = next((ratio for ratio in dollars_else_tokens if ratio is not None), None)
    interval = f"({format_interval(row.ci95)})" if row.ci95 else ""
    cells = [
        Cell(format_percent(row.accuracy), interval),
        Cell("–") if row.method == report.baseline else _view_gap(row.gap),
        Cell(f"{row.n:,}"),
        Cell(f"{row.failed:,}"),
        *(Cell(format_measure(row.means[m], m)) for m in report.measures),
        Cell("–" if ratio is None or row.method == DENSE else format_whole_percent(1 - ratio)),
    ]
    return Row(Cell(row.method, METHOD_DESCRIPTIONS.get(row.method, "")), tuple(cells))


def _view_gap(gap: AccuracyGap | None) -> Cell:
    if gap is None:
        return Cell("–")
    interval = f"({format_points(gap.low)} to {format_points(gap.high)})"
    return Cell(format_points(gap.difference), interval, gap.is_significant)


def view_quality(report: Report) -> QualityView:
    """Return accuracy against cost and against latency, or against what stands in for them."""
    rows = [row for row in report.rows if row.group != "ablation"]

    def first_known(*measures: str) -> str:
        return next((m for m in measures if sum(bool(row.means[m]) for row in rows) > 1), "calls")

    cost, latency = first_known("cost", "tokens", "completion_tokens"), first_known("seconds", "path_tokens")
    notes = []
    if cost != "cost":
        is_free = all(row.means["cost"] == 0 for row in report.rows)
        why = "No call cost anything." if is_free else explain_unknown("cost", report.rows) or ""
        notes.append(f"{why} {MEASURES[cost].capitalize()} stand in for dollars.".strip())
    if latency != "seconds":
        why = explain_unknown("seconds", report.rows) or ""
        notes.append(f"{why} {MEASURES[latency].capitalize()} stand in for seconds.".strip())
    figures = [
        Figure(chart, _quality_table(rows, measure))
        for measure in dict.fromkeys((cost, latency))
        if (chart := draw_quality(f"quality-{measure.replace('_', '-')}", report.rows, measure))
    ]
    absent = [row.method for row in rows if row.means[cost] is None]
    if figures and absent:
        notes.append(f"Not in the first chart, because their {MEASURES[cost]} are unknown: {', '.join(absent)}.")
    return QualityView(tuple(figures), tuple(notes))


def _quality_table(rows: list[MethodRow], measure: str) -> Table:
    def format_ends(row: MethodRow) -> str:
        ends = row.intervals.get(measure)
        return " to ".join(format_measure(end, measure) for end in ends) if ends else ""

    headings = ["method", f"{MEASURES[measure]} per question", "95 % interval", "right", "95 % interval"]
    cells = [
        [
            row.method,
            format_measure(row.means[measure], measure),
            format_ends(row),
            format_percent(row.accuracy),
            format_interval(row.ci95),
        ]
        for row in rows
    ]
    return build_table(f"Accuracy against {MEASURES[measure]}", headings, cells)


def view_savings(report: Report) -> SavingsView:
    """Return what is saved relative to the dense mixture."""
    if not report.savings:
        has_dense = any(row.method == DENSE for row in report.rows)
        why = "no figure is known for both on every question." if has_dense else "moa, the dense mixture, was not run."
        return SavingsView(None, why, ())
    rows = [[MEASURES[s.measure], format_percent(s.saved), format_interval((s.low, s.high))] for s in report.savings]
    table = build_table("Saved by routemoa, on the questions of both", ["of", "saved", "95 % interval"], rows)
    shown = {s.measure for s in report.savings}
    missing = tuple(MEASURES[m] for m in report.measures if m not in shown)
    return SavingsView(Figure(charts.draw_savings("savings-chart", report.savings), table), "", missing)


def view_calibration(report: Report) -> CalibrationView | None:
    """Return the calibration of stated confidences; None where there is none."""
    calibration = report.calibration
    if calibration is None:
        return None
    rows = [
        [
            f"{100 * b.low:.0f} to {100 * b.high:.0f} %",
            f"{b.n:,}",
            format_percent(b.confidence),
            format_percent(b.right),
            format_interval(b.ci95),
        ]
        for b in calibration.bins
    ]
    headings = ["confidence", "answers", "mean confidence", "right", "95 % interval"]
    table = build_table("Stated confidence and accuracy", headings, rows)
    chart = charts.draw_calibration("calibration-chart", calibration)
    return CalibrationView(calibration.n, calibration.ece, calibration.brier, Figure(chart, table))


def view_models(report: Report) -> tuple[Figure, ...]:
    """Return which models were called and chosen, by task and by layer; empty where the outcomes hold no layers."""
    shares = report.chosen
    if shares is None:
        return ()
    final = {"(none)" if model == NO_CHOICE else model: row for model, row in shares.final.items()}
    views = (
        ("called", "Models called, by task", shares.called, shares.tasks, ""),
        ("final", "Models whose answer was chosen, by task", final, shares.tasks, ""),
        ("layered", "Models called, by layer", shares.by_layer, shares.layers, "layer "),
    )
    figures = []
    for key, title, by_model, columns, unit in views:
        rows = [
            [f"{unit}{column} ({n:,})", *(format_percent(row[column], 0) for row in by_model.values())]
            for column, n in columns.items()
        ]
        table = build_table(f"{title}; number of answers in brackets", ["", *by_model], rows)
        figures.append(Figure(charts.draw_shares(f"chosen-{key}", title, by_model, columns, unit), table))
    return tuple(figures)


def view_layers(report: Report) -> LayersView | None:
    """Return the results by last layer and the reasons to stop; None where the outcomes hold neither."""
    if not report.layers and not report.stops:
        return None
    layers = [
        [
            f"layer {layer.layer}",
            f"{layer.reached:,}",
            f"{layer.calls:,}",
            f"{layer.ended:,}",
            format_percent(layer.right),
            format_percent(layer.any_right),
        ]
        for layer in report.layers
    ]
    headings = ["", "answers that reached it", "calls", "ended there", "of these right", "any model right"]
    columns = ["answers", "right", "calls"]
    stops = [
        Row(
            Cell(stop.kind),
            (
                Cell(f"{stop.n:,}"),
                Cell(format_percent(stop.right)),
                Cell(format_measure(stop.calls, "calls")),
                Cell(shorten(stop.example, 240)),
            ),
        )
        for stop in report.stops
    ]
    return LayersView(
        build_table("Results by last layer", headings, layers),
        Table(
            "Reasons to stop",
            (Column("reason", "heading"), *map(Column, columns), Column("example", "text")),
            (RowGroup("", tuple(stops)),),
        ),
    )


def view_ablations(report: Report) -> AblationsView:
    """Return the mixture without each of its parts, relative to the whole mixture."""
    not_run = tuple(a.description for a in report.ablations if not a.row)
    rows = [
        Row(
            Cell(f"without {a.description}"),
            (
                Cell(format_percent(a.row.accuracy)),
                _view_gap(a.gap),
                *(Cell(format_change(a.ratios[m])) for m in report.measures),
            ),
        )
        for a in report.ablations
        if a.row
    ]
    if not rows:
        return AblationsView(None, not_run)
    columns = ("right", "points (95 %)", *(MEASURES[m] for m in report.measures))
    table = Table(
        f"{OURS} without one of its parts, relative to the whole",
        (Column("", "heading"), *map(Column, columns)),
        (RowGroup("", tuple(rows)),),
    )
    return AblationsView(Figure(charts.draw_ablations("parts-chart", report.ablations), table), not_run)


def view_scale(report: Report) -> tuple[Figure, ...]:
    """Return accuracy and spending by the size of the pool, a figure for each pool; empty where none was run."""
    measures = ("calls", "tokens", "cost", "seconds")
    headings = ["", "right", "95 % interval", *(MEASURES[m] for m in measures)]
    figures = []
    for i, pool in enumerate(dict.fromkeys(curve.pool for curve in report.scale)):
        curves = [curve for curve in report.scale if curve.pool == pool]
        rows = [
            [
                f"{curve.method}, {point.models} models",
                format_percent(point.accuracy),
                format_interval(point.ci95),
                *(format_measure(getattr(point, m), m) for m in measures),
            ]
            for curve in curves
            for point in curve.points
        ]
        chart = charts.draw_scale(f"scale-{i}", pool, curves)
        figures.append(Figure(chart, build_table(f"By pool size: {pool}", headings, rows)))
    return tuple(figures)
