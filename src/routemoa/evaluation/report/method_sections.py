"""The views of the sections that compare methods: summary, all methods, accuracy against spending, savings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from routemoa.evaluation.formatting import (
    UNKNOWN,
    format_change,
    format_interval,
    format_measure,
    format_percent,
    format_points,
    format_ratio,
    format_whole_percent,
    shorten,
)
from routemoa.evaluation.report.caveats import UNFINISHED, explain_unknown
from routemoa.evaluation.report.charts import draw_savings
from routemoa.evaluation.report.figures import Report
from routemoa.evaluation.report.headline import DENSE
from routemoa.evaluation.report.method_rows import GROUPS, MEASURES, METHOD_DESCRIPTIONS, AccuracyGap, MethodRow
from routemoa.evaluation.report.quality_chart import draw_quality
from routemoa.evaluation.report.views import (
    Cell,
    Column,
    Figure,
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

__all__ = ["gap_cell", "view_methods", "view_quality", "view_savings", "view_summary"]


SAVED = "saved against moa"
"""Heading of the column of savings."""


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
        (*report.warnings, *(caveat for caveat in report.caveats if caveat.startswith(UNFINISHED))),
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
    """Return the table of all methods, without columns in which nothing is known."""
    baseline = shorten(report.baseline or "the best single model")
    columns: dict[str, Callable[[MethodRow], Cell]] = {
        "right (95\u00a0%)": _accuracy_cell,
        f"over {baseline}, points (95\u00a0%)": lambda row: _gap_to_baseline(row, report),
        "questions": lambda row: Cell(f"{row.n:,}"),
        "failed": lambda row: Cell(f"{row.failed:,}"),
        **{MEASURES[m]: partial(_measure_cell, measure=m) for m in report.measures},
        SAVED: lambda row: _saving_cell(row, report),
    }
    cells = {heading: [make(row) for row in report.rows] for heading, make in columns.items()}
    kept = [heading for heading, column in cells.items() if any(c.text not in ("–", UNKNOWN) for c in column)]
    rows = {row.method: tuple(cells[heading][i] for heading in kept) for i, row in enumerate(report.rows)}
    groups = tuple(
        RowGroup(
            heading,
            tuple(
                Row(Cell(row.method, METHOD_DESCRIPTIONS.get(row.method, "")), rows[row.method])
                for row in report.rows
                if row.group == group
            ),
        )
        for group, heading in GROUPS.items()
    )
    table = Table("Means per question", (Column("method", "heading"), *map(Column, kept)), groups)
    measures = dict.fromkeys((*report.measures, "seconds"))
    explanation = ["95 % intervals are in brackets. A difference is bold where its interval excludes zero."]
    if SAVED in kept:
        explanation.append("Savings are in dollars where these are known, else in tokens.")
    if any(row.failed for row in report.rows):
        explanation.append("Failures are answers that never came" + (", over all seeds." if report.seeds > 1 else "."))
    return MethodsView(
        " ".join(explanation), table, tuple(why for m in measures if (why := explain_unknown(m, report.rows)))
    )


def _accuracy_cell(row: MethodRow) -> Cell:
    return Cell(format_percent(row.accuracy), f"({format_interval(row.ci95)})" if row.ci95 else "")


def _gap_to_baseline(row: MethodRow, report: Report) -> Cell:
    return Cell("–") if row.method == report.baseline else gap_cell(row.gap)


def _measure_cell(row: MethodRow, measure: str) -> Cell:
    return Cell(format_measure(row.means[measure], measure))


def _saving_cell(row: MethodRow, report: Report) -> Cell:
    """Return what is saved against the dense mixture: in dollars, else in tokens, else in calls."""
    known = [row.dense_ratios.get(m) for m in ("cost", report.measures[1], "calls")]
    ratio = next((ratio for ratio in known if ratio is not None), None)
    return Cell("–" if ratio is None or row.method == DENSE else format_whole_percent(1 - ratio))


def gap_cell(gap: AccuracyGap | None) -> Cell:
    """Return a difference in points with its interval, in bold where it is significant."""
    if gap is None:
        return Cell("–")
    interval = f"({format_points(gap.low)} to {format_points(gap.high)})"
    return Cell(format_points(gap.difference), interval, gap.is_significant)


def view_quality(report: Report) -> QualityView | None:
    """Return accuracy against cost and against latency, or what stands in for them; None without two such methods."""
    rows = [row for row in report.rows if row.group != "ablation"]

    def first_known(*measures: str) -> str:
        return next((m for m in measures if sum(bool(row.means[m]) for row in rows) > 1), "calls")

    cost, latency = first_known("cost", "tokens", "completion_tokens"), first_known("seconds", "path_tokens")
    charts = {
        measure: chart
        for measure in dict.fromkeys((cost, latency))
        if (chart := draw_quality(f"quality-{measure.replace('_', '-')}", report.rows, measure))
    }
    if not charts:
        return None
    notes = []
    if cost != "cost":
        is_free = all(row.means["cost"] == 0 for row in report.rows)
        why = "No call cost anything." if is_free else explain_unknown("cost", report.rows) or ""
        notes.append(f"{why} {MEASURES[cost].capitalize()} stand in for dollars.".strip())
    if latency not in ("seconds", cost):
        why = explain_unknown("seconds", report.rows) or ""
        notes.append(f"{why} {MEASURES[latency].capitalize()} stand in for seconds.".strip())
    if absent := [row.method for row in rows if row.means[cost] is None]:
        notes.append(f"Not in the first chart, because their {MEASURES[cost]} are unknown: {', '.join(absent)}.")
    figures = tuple(Figure(chart, _quality_table(rows, measure)) for measure, chart in charts.items())
    has_oracle = any(row.group == "bound" for row in rows)
    return QualityView(tuple(MEASURES[measure] for measure in charts), has_oracle, figures, tuple(notes))


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


def view_savings(report: Report) -> SavingsView | None:
    """Return what is saved relative to the dense mixture; None where that was not run or nothing is known for both."""
    if not report.savings:
        return None
    rows = [[MEASURES[s.measure], format_percent(s.saved), format_interval((s.low, s.high))] for s in report.savings]
    table = build_table("Saved by routemoa, on the questions of both", ["of", "saved", "95 % interval"], rows)
    shown = {s.measure for s in report.savings}
    missing = tuple(MEASURES[m] for m in report.measures if m not in shown)
    return SavingsView(Figure(draw_savings("savings-chart", report.savings), table), missing)
