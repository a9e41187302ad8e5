"""`routemoa report`: one page that says whether the mixture is worth it, or the same table on the terminal."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from routemoa.cli.terminal.session import check_writable, write_whole
from routemoa.core.errors import ConfigError
from routemoa.core.types import to_json
from routemoa.evaluation.outcomes import OUTCOMES, load_run, read_outcomes
from routemoa.evaluation.report.figures import Report, build_report
from routemoa.evaluation.report.formatting import format_dollars, format_points, format_whole_percent
from routemoa.evaluation.report.method_rows import GROUPS, MEASURES, MethodRow
from routemoa.evaluation.statistics import summarize

__all__ = ["report", "show"]

WIDE = 125  # characters in which a table with its intervals fits


@click.command(context_settings={"max_content_width": 100})
@click.argument("folder", metavar="DIR")
@click.option("--html", "html_file", metavar="FILE", help="Write the page to FILE: self-contained, without script.")
@click.option("--json", "json_file", metavar="FILE", help="Write all figures to FILE.")
def report(*, folder: str, html_file: str | None, json_file: str | None) -> None:
    """Say what the run in DIR found: is the mixture better than the best single model, and what does it cost?

    DIR is a folder that  routemoa bench --out DIR  or  routemoa evaluate --out DIR  wrote, finished or not. On the
    terminal stand the answer and the table of all methods. The page has, beside it, charts of quality against cost and
    latency, savings, where routing helped and hurt with examples, calibration, who was chosen when, what each part
    added, and the caveats. It needs no network and no script. Intervals are 95 %, by bootstrap over questions.

    \b
    Examples:
      routemoa report my-run
      routemoa report my-run --html report.html
    """
    for file in (html_file, json_file):
        check_writable(file)
    run = load_run(folder)
    found = list(read_outcomes(folder))
    if not found:
        raise ConfigError(f"{Path(folder) / OUTCOMES}: no outcome yet; start the run again with the same command")
    shown = build_report(run, found, summarize(found, run.seed))
    if json_file:
        write_whole(json_file, to_json(shown) + b"\n")
    if html_file:
        from routemoa.evaluation.report.page import render

        data = render(shown).encode()
        write_whole(html_file, data)
        click.echo(shown.headline.sentence)
        click.echo(f"{html_file}: {len(data) / 1024:,.0f} KB; open it in any browser", err=True)
    else:
        show(shown)


def show(shown: Report) -> None:
    """The answer in a sentence, the table of all methods, and the caveats on standard error."""
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(Text(shown.headline.sentence), style="bold")
    wide = console.width >= WIDE
    table = Table(box=None, header_style="bold", pad_edge=False)
    heads = ["method", "right", "points over " + (shown.baseline or "best single"), "failed", "n"]
    for head in (*heads, *(MEASURES[m] for m in shown.measures), "saved to moa"):
        table.add_column(Text(head), justify="left" if head == "method" else "right", no_wrap=wide or head == "method")
    for group in GROUPS:
        for row in shown.rows:
            if row.group == group:
                look = "bold" if group == "mixture" else "dim" if group in ("single", "bound") else ""
                table.add_row(*map(Text, _cells(row, shown, wide)), style=look)  # names are data, not markup
    console.print(table)
    if not wide:
        click.echo("95 % intervals: in a wider terminal, or with --html", err=True)
    for said in shown.caveats:
        click.echo(f"note: {said}", err=True)


def _cells(row: MethodRow, shown: Report, wide: bool) -> list[str]:
    accuracy = "unknown" if row.accuracy is None else f"{row.accuracy:.1%}"
    accuracy += f" ({row.ci95[0]:.1%} to {row.ci95[1]:.1%})" if row.ci95 and wide else ""
    gap = "-"
    if row.gap and row.method != shown.baseline:
        gap = format_points(row.gap.difference)
        gap += f" ({format_points(row.gap.low)} to {format_points(row.gap.high)})" if wide else ""
    saved = row.dense_ratios.get("cost")
    saved = row.dense_ratios.get(shown.measures[1]) if saved is None else saved
    less = "-" if saved is None or row.method == "moa" else format_whole_percent(1 - saved)
    spent = [_figure(row.means[m], m) for m in shown.measures]
    return [row.method, accuracy, gap, f"{row.failed:,}", f"{row.n:,}", *spent, less]


def _figure(value: float | None, measure: str) -> str:
    if value is None:
        return "unknown"
    return format_dollars(value) if measure == "cost" else f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
