"""`routemoa ledger`: every call that was made, what it cost, and sums of them."""

from __future__ import annotations

import csv
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.bar import Bar
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from routemoa.core.errors import ConfigError
from routemoa.core.types import to_plain
from routemoa.evaluation.report.formatting import format_dollars
from routemoa.ledger.aggregates import GROUPINGS, Grouping, CallSummary, summarize_calls, group_calls, total_tokens
from routemoa.ledger.queries import LedgerEntry, read_calls
from routemoa.ledger.schema import default_path

__all__ = ["ledger"]

SHOWN = 50  # calls, where nobody says how many
WIDE = 128  # characters in which all columns fit
UNITS = {"h": 3600.0, "d": 86_400.0}


@click.command(context_settings={"max_content_width": 100})
@click.option("--since", metavar="WHEN", help="Calls from then on: a UTC day (2026-11-25), or 24h, 7d, 30d ago.")
@click.option("--by", type=click.Choice(GROUPINGS), help="Sums for each, and of all.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    metavar="N",
    help=f"The last N calls.  [default: all; {SHOWN} in the table of calls]",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV: all columns, exact numbers, empty where unknown.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: exact numbers, null where unknown.")
@click.option("--plot", metavar="FILE", help="Also draw dollars a day by model, or by --by, to FILE.svg or .png.")
@click.option("--store", metavar="FILE", help="The store; else $ROUTEMOA_STORE, else the one in your data folder.")
def ledger(
    *,
    since: str | None,
    by: Grouping | None,
    limit: int | None,
    as_csv: bool,
    as_json: bool,
    plot: str | None,
    store: str | None,
) -> None:
    """Show the calls that were made, newest last, or with --by their sums. No model is called.

    Tokens and dollars are the providers' own figures; a dash is a figure that nobody gave. `charged` is what counts
    against budgets: where a provider said nothing, the most that the call can have cost. Days are UTC's.

    \b
    Examples:
      routemoa ledger                                   the last calls
      routemoa ledger --since 7d --by model             where the money went
      routemoa ledger --since 2026-11-01 --by key       what each tenant took
      routemoa ledger --by day --plot days.svg          dollars a day, stacked by model
      routemoa ledger --since 30d --csv > november.csv
    """
    if as_csv and as_json:
        raise ConfigError("--csv and --json are two formats; choose one")
    if plot:
        from routemoa.cli.ledger.plot import check

        check(plot)
    path = Path(store) if store else default_path()
    if store and not path.exists():
        raise ConfigError(f"--store {store}: there is no such file; calls are kept in {default_path()} by default")
    last = limit if by or limit or plot or as_csv or as_json else SHOWN
    found = list(read_calls(path, _since(since, time.time()), last))
    if as_json:
        _json(found, by)
    elif as_csv:
        _csv(found, by)
    elif found:
        _show(found if limit or by else found[-SHOWN:], by)
    if not found:
        _empty(path, since)
    elif plot:
        from routemoa.cli.ledger.plot import draw

        draw(plot, found, by)
        click.echo(f"{plot}: open it in any browser", err=True)


def _since(when: str | None, now: float) -> float | None:
    """Seconds since the epoch."""
    if when is None:
        return None
    if ago := re.fullmatch(r"(\d{1,6})([hd])", when):
        return now - int(ago[1]) * UNITS[ago[2]]
    try:
        return datetime.strptime(when, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except ValueError as e:
        raise ConfigError(f"--since {when}: neither a day nor a time ago; write e.g. 2026-11-25, 24h or 7d") from e


def _empty(path: Path, since: str | None) -> None:
    newest = next(read_calls(path, last=1), None)
    if since and newest:
        click.echo(f"no call since {since}; the last one was on {_time(newest.began)} UTC", err=True)
    else:
        said = f"the ledger is empty: {path} holds no call yet"
        click.echo(f'{said}; make one with  routemoa ask "..."  or name another file with --store', err=True)


def _json(found: Sequence[LedgerEntry], by: Grouping | None) -> None:
    if by is None:
        shown: dict[str, object] = {"calls": [to_plain(c) for c in found]}
    else:
        shown = {
            "by": by,
            "groups": [to_plain(s) for s in group_calls(found, by)],
            "total": to_plain(summarize_calls("total", found)),
        }
    click.echo(json.dumps(shown, indent=1))


def _csv(found: Sequence[LedgerEntry], by: Grouping | None) -> None:
    rows: Sequence[LedgerEntry | CallSummary] = found if by is None else group_calls(found, by)
    columns = LedgerEntry.__struct_fields__ if by is None else CallSummary.__struct_fields__
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(columns if by is None else (by, *columns[1:]))
    out.writerows([getattr(row, c) for c in columns] for row in rows)


def _show(found: Sequence[LedgerEntry], by: Grouping | None) -> None:
    terminal = sys.stdout.isatty()
    console = Console(width=None if terminal else 400)
    wide = console.width >= WIDE
    bar = (24 if wide else 14) if terminal else 0
    console.print(_calls(found, wide) if by is None else _sums(found, by, wide, bar))
    if not wide:
        click.echo("all columns: in a wider terminal, or with --csv", err=True)


def _calls(found: Sequence[LedgerEntry], wide: bool) -> Table:
    columns = [(name, cell) for name, cell in CALL if wide or name not in WIDE_ONLY]
    table = _table([name for name, _ in columns])
    for c in found:
        look = "" if c.outcome == "ok" else "dim" if c.outcome in ("cut", "open") else "red"
        *cells, outcome = [cell(c) for _, cell in columns]
        table.add_row(*map(Text, cells), Text(outcome, style=look))  # names are data, not markup
    return table


def _sums(found: Sequence[LedgerEntry], by: Grouping, wide: bool, bar: int) -> Table:
    sums, total = group_calls(found, by), summarize_calls("total", found)
    columns = [(name, cell) for name, cell in SUM if wide or name not in WIDE_ONLY]
    table = _table([by, *(name for name, _ in columns)])
    dollars = bool(total.charged)
    if bar:
        table.add_column("charged" if dollars else "tokens", min_width=bar)
    sizes = [float((s.charged if dollars else total_tokens(s)) or 0.0) for s in sums]
    for s, size in zip((*sums, total), (*sizes, 0.0), strict=True):
        cells: list[RenderableType] = [Text(s.group), *(Text(cell(s)) for _, cell in columns)]
        cells += [Bar(max(sizes), 0, size, width=bar, color="blue")] if bar and size else []
        table.add_row(*cells, style="bold" if s is total else "")
    return table


def _table(heads: Sequence[str]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for head in heads:
        left = head in GROUPINGS or head in ("time (UTC)", "outcome")
        table.add_column(head, justify="left" if left else "right", no_wrap=head not in NAMES, overflow="fold")
    return table


def _time(began: float) -> str:
    return datetime.fromtimestamp(began, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _dollars(value: float | None) -> str:
    return "-" if value is None else format_dollars(value)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


NAMES = set(GROUPINGS) - {"day", "purpose"}  # as long as they like
WIDE_ONLY = {"key", "method", "cached", "cut", "uncounted", "cost", "unpriced", "seconds"}  # where there is room
CALL: tuple[tuple[str, Callable[[LedgerEntry], str]], ...] = (
    ("time (UTC)", lambda c: _time(c.began)),
    ("key", lambda c: c.key),
    ("method", lambda c: c.method),
    ("purpose", lambda c: c.purpose),
    ("model", lambda c: c.model),
    ("read", lambda c: _count(c.prompt_tokens)),
    ("cached", lambda c: _count(c.cached_tokens)),
    ("written", lambda c: _count(c.completion_tokens)),
    ("cost", lambda c: _dollars(c.cost)),
    ("charged", lambda c: _dollars(c.charged)),
    ("seconds", lambda c: _seconds(c.seconds)),
    ("outcome", lambda c: c.outcome),
)
SUM: tuple[tuple[str, Callable[[CallSummary], str]], ...] = (
    ("calls", lambda s: _count(s.calls)),
    ("failed", lambda s: _count(s.failed)),
    ("cut", lambda s: _count(s.cut)),
    ("read", lambda s: _count(s.prompt_tokens)),
    ("cached", lambda s: _count(s.cached_tokens)),
    ("written", lambda s: _count(s.completion_tokens)),
    ("uncounted", lambda s: _count(s.uncounted)),
    ("cost", lambda s: _dollars(s.cost)),
    ("unpriced", lambda s: _count(s.unpriced)),
    ("charged", lambda s: _dollars(s.charged)),
    ("seconds", lambda s: _seconds(s.seconds)),
)
