"""`routemoa report`: what a run found, as a table on the terminal or as an HTML page."""

from __future__ import annotations

from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from routemoa.cli.options import json_file_option
from routemoa.cli.terminal.files import STDOUT, check_writable, write_figures, write_file
from routemoa.cli.terminal.lines import print_line
from routemoa.cli.terminal.table import fit_table, make_console, print_fitted
from routemoa.cli.terminal.warn import print_warnings
from routemoa.cli.terminal.working import show_working
from routemoa.core.errors import ConfigError
from routemoa.core.text.dollars import format_dollars
from routemoa.core.text.printable import printable_line
from routemoa.core.types import to_json
from routemoa.evaluation.formatting import format_points, format_whole_percent
from routemoa.evaluation.outcomes import OUTCOMES, load_run, read_outcomes
from routemoa.evaluation.report.figures import Report, build_report
from routemoa.evaluation.report.method_rows import GROUPS, MEASURES, MethodRow
from routemoa.evaluation.statistics import summarize

__all__ = ["print_page", "report"]

LESS_THAN_INTERVALS = ("n", "failed")
"""Columns that are left out before the intervals are."""
STYLES = {"mixture": "bold", "single": "dim", "bound": "dim"}


@click.command(context_settings={"max_content_width": 100})
@click.argument("folder", metavar="DIR")
@click.option("--html", "html_file", metavar="FILE", help="Write the page to FILE: self-contained, without scripts.")
@json_file_option
def report(*, folder: str, html_file: str | None, json_file: str | None) -> None:
    """Report the run in DIR: is the mixture better than the best single model, and what does it cost?

    DIR is the folder of a run, finished or not:  routemoa bench --out DIR  or  routemoa evaluate --out DIR. The
    terminal shows the answer, a table of all methods, and what to do: which method, which pool, how many more
    questions. The page adds charts of quality against cost and latency, savings, examples where routing helped and
    hurt, calibration, which models were chosen when, what each part contributes, and the caveats; what the run does not
    have is left out. It needs no network and no scripts. Intervals are 95 %, by bootstrap over questions.

    \b
    Examples:
      routemoa report my-run
      routemoa report my-run --html report.html
    """
    for file in (html_file, json_file):
        check_writable(file)
    with show_working("reading the run"):
        run = load_run(folder)
        all_outcomes = list(read_outcomes(folder))
        if not all_outcomes:
            raise ConfigError(
                f"{Path(folder) / OUTCOMES}: no outcome yet; run the command that made it again to continue"
            )
        figures = build_report(run, all_outcomes, summarize(all_outcomes, run.seed))
    if json_file:
        write_figures(json_file, to_json(figures) + b"\n")
    if html_file:
        from routemoa.evaluation.report.page import render

        data = render(figures).encode()
        write_file(html_file, data)
        print_line(figures.headline.sentence, err=json_file == STDOUT)
        print_line(f"{html_file}: {len(data) / 1024:,.0f} KB; open it in any browser", err=True)
    elif json_file != STDOUT:
        print_page(figures)


def print_page(figures: Report) -> None:
    """Print the answer in a sentence, the table of all methods and what to do; the caveats go to standard error."""
    console = make_console()
    console.print(Text(figures.headline.sentence), style="bold")
    table, dropped = _fit_rows(figures, console.width, with_intervals=True)
    with_intervals = set(dropped) <= set(LESS_THAN_INTERVALS)
    if not with_intervals:
        table, dropped = _fit_rows(figures, console.width, with_intervals=False)
    print_fitted(console, table, dropped)
    if not with_intervals:
        print_line("95 % intervals: in a wider terminal, or with --html", err=True)
    for caveat in figures.caveats:
        print_line(f"note: {caveat}", err=True)
    print_warnings(figures.warnings)
    console.print(Text("\nWhat to do"), style="bold")
    for sentence in figures.advice.sentences:
        print_line(f"- {printable_line(sentence)}")


def _fit_rows(figures: Report, width: int, *, with_intervals: bool) -> tuple[Table, list[str]]:
    """Return the table of all methods, and the columns that it leaves out."""
    gap = "points over " + (figures.baseline or "best single")
    heads = ["method", "accuracy", gap, "failed", "n", *(MEASURES[m] for m in figures.measures), "saved vs. moa"]
    rows = [
        [Text(cell, style=STYLES.get(group, "")) for cell in _make_cells(row, figures, with_intervals)]
        for group in GROUPS
        for row in figures.rows
        if row.group == group
    ]
    optional = [*LESS_THAN_INTERVALS, *(MEASURES[m] for m in reversed(figures.measures)), "saved vs. moa"]
    folded = heads[1:] if not with_intervals else [gap, "saved vs. moa"]
    return fit_table(heads, rows, width, left={"method"}, folded=folded, optional=optional)


def _make_cells(row: MethodRow, figures: Report, with_intervals: bool) -> list[str]:
    """Return a method's row, with its intervals where they fit."""
    accuracy = "unknown" if row.accuracy is None else f"{row.accuracy:.1%}"
    accuracy += f" ({row.ci95[0]:.1%} to {row.ci95[1]:.1%})" if row.ci95 and with_intervals else ""
    gap = "-"
    if row.gap and row.method != figures.baseline:
        gap = format_points(row.gap.difference)
        gap += f" ({format_points(row.gap.low)} to {format_points(row.gap.high)})" if with_intervals else ""
    share = row.dense_ratios.get("cost")
    share = row.dense_ratios.get(figures.measures[1]) if share is None else share
    saved = "-" if share is None or row.method == "moa" else format_whole_percent(1 - share)
    spent = [_format_measure(row.means[m], m) for m in figures.measures]
    return [row.method, accuracy, gap, f"{row.failed:,}", f"{row.n:,}", *spent, saved]


def _format_measure(value: float | None, measure: str) -> str:
    if value is None:
        return "unknown"
    return format_dollars(value) if measure == "cost" else f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
