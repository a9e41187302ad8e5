"""The views of the sections that compare methods: summary, all methods, accuracy against spending, savings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from routemoa.evaluation.report.caveats import UNFINISHED, explain_unknown
from routemoa.evaluation.report.charts import draw_savings
from routemoa.evaluation.report.figures import Report
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
        Cell("–") if row.method == report.baseline else gap_cell(row.gap),
        Cell(f"{row.n:,}"),
        Cell(f"{row.failed:,}"),
        *(Cell(format_measure(row.means[m], m)) for m in report.measures),
        Cell("–" if ratio is None or row.method == DENSE else format_whole_percent(1 - ratio)),
    ]
    return Row(Cell(row.method, METHOD_DESCRIPTIONS.get(row.method, "")), tuple(cells))


def gap_cell(gap: AccuracyGap | None) -> Cell:
    """Return a difference in points with its interval, in bold where it is significant."""
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
    return SavingsView(Figure(draw_savings("savings-chart", report.savings), table), "", missing)
