"""The views of the sections about the mixture: calibration, models, layers, ablations, pool sizes."""

from __future__ import annotations

from routemoa.core.text.plural import counted
from routemoa.evaluation.formatting import (
    format_change,
    format_interval,
    format_measure,
    format_percent,
    shorten,
)
from routemoa.evaluation.report import charts
from routemoa.evaluation.report.figures import Report
from routemoa.evaluation.report.findings import NO_CHOICE
from routemoa.evaluation.report.headline import OURS
from routemoa.evaluation.report.method_rows import MEASURES
from routemoa.evaluation.report.method_sections import gap_cell
from routemoa.evaluation.report.views import (
    AblationsView,
    CalibrationView,
    Cell,
    Column,
    Figure,
    LayersView,
    Row,
    RowGroup,
    Table,
    build_table,
)

__all__ = ["view_ablations", "view_calibration", "view_layers", "view_models", "view_scale"]


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
        if key == "layered" and len(columns) < 2:  # the same as by task
            continue
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
    head = (Column("reason", "heading"), *map(Column, columns), Column("example", "text"))
    return LayersView(
        build_table("Results by last layer", headings, layers) if layers else None,
        Table("Reasons to stop", head, (RowGroup("", tuple(stops)),)) if stops else None,
    )


def view_ablations(report: Report) -> AblationsView | None:
    """Return the mixture without each of its parts, relative to the whole mixture; None where no part was left out."""
    not_run = tuple(a.description for a in report.ablations if not a.row)
    rows = [
        Row(
            Cell(f"without {a.description}"),
            (
                Cell(format_percent(a.row.accuracy)),
                gap_cell(a.gap),
                *(Cell(format_change(a.ratios[m])) for m in report.measures),
            ),
        )
        for a in report.ablations
        if a.row
    ]
    if not rows:
        return None
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
                f"{curve.method}, {counted(point.models, 'model')}",
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
