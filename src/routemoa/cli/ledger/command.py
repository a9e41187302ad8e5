"""`routemoa ledger`: the calls that were made, what they cost, and their sums."""

from __future__ import annotations

import csv
import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from routemoa.cli.command_group import SuggestingGroup
from routemoa.cli.ledger.tables import NOTED, format_time, make_call_table, make_summary_table
from routemoa.cli.options import STORE_HELP
from routemoa.cli.terminal.lines import print_line
from routemoa.cli.terminal.table import make_console, print_fitted
from routemoa.core.errors import ConfigError
from routemoa.core.text.dollars import format_dollars
from routemoa.core.text.plural import counted
from routemoa.core.text.printable import printable_line
from routemoa.core.types import to_plain
from routemoa.ledger import correct_call
from routemoa.ledger.location import StoreLocation, default_path, find_store
from routemoa.ledger.sums.aggregates import GROUPINGS, CallSummary, Grouping, group_calls, summarize_calls
from routemoa.ledger.sums.queries import LedgerEntry, read_calls

__all__ = ["ledger"]

DEFAULT_CALLS = 50  # in the table of calls
WIDE = 128  # characters in which all columns fit
BAR_WIDTH = 14  # characters, on a terminal
WIDE_BAR_WIDTH = 24
MAX_NOTES = 5  # below the table of calls
UNITS = {"h": 3600.0, "d": 86_400.0}


@dataclass(frozen=True)
class LedgerOptions:
    """The options of `routemoa ledger`."""

    since: str | None
    by: Grouping | None
    limit: int | None
    as_csv: bool
    as_json: bool
    plot: str | None
    store: str | None


@click.group(cls=SuggestingGroup, invoke_without_command=True, context_settings={"max_content_width": 100})
@click.option("--since", metavar="WHEN", help="Calls since a UTC day (2026-11-25) or a time ago (24h, 7d, 30d).")
@click.option("--by", type=click.Choice(GROUPINGS), help="Sum the calls by this, and in all.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    metavar="N",
    help=f"The last N calls.  [default: all; {DEFAULT_CALLS} in the table of calls]",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV: all columns, exact numbers, empty where unknown.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: exact numbers, null where unknown.")
@click.option("--plot", metavar="FILE", help="Also draw dollars a day by model, or by --by, to FILE.svg or .png.")
@click.option("--store", metavar="FILE|URL", help=STORE_HELP)
@click.pass_context
def ledger(ctx: click.Context, /, **options: Any) -> None:  # a keyword for each option: the fields of LedgerOptions
    """Show the calls that were made, latest last, or with --by their sums, without calling a model.

    Tokens and dollars are those that providers report; a dash is unknown. `charged` is what counts against budgets:
    where a provider reports no cost, the most that the call can have cost. Days are in UTC.

    \b
    Examples:
      routemoa ledger                                   the last calls
      routemoa ledger --since 7d --by model             where the money went
      routemoa ledger --since 2026-11-01 --by key       what each tenant took
      routemoa ledger --by day --plot days.svg          dollars a day, by model
      routemoa ledger --since 30d --csv > november.csv
      routemoa ledger correct 42 --cost 0.0017 --reason "the provider's invoice"
    """
    ctx.obj = options["store"]
    if ctx.invoked_subcommand is None:
        _show_ledger(LedgerOptions(**options))


@ledger.command()
@click.argument("call_id", metavar="ID", type=int)
@click.option("--cost", type=float, required=True, metavar="DOLLARS", help="What the call did cost.")
@click.option("--reason", required=True, metavar="TEXT", help="Why; it is kept with the call.")
@click.option("--json", "as_json", is_flag=True, help="Print the call before and after as one JSON object.")
@click.option("--store", metavar="FILE|URL", help=STORE_HELP)
@click.pass_obj
def correct(
    outer_store: str | None, /, *, call_id: int, cost: float, reason: str, as_json: bool, **others: Any
) -> None:
    """Correct what the call ID cost.

    The correction is added with its reason, the call's own row stays as it is. Sums and the budgets of the call's day
    and month follow at once, in running servers, too. To take a correction back, correct the call again.

    \b
    Examples:
      routemoa ledger                    shows the ids; * marks doubtful figures
      routemoa ledger correct 42 --cost 0.0017 --reason "the provider's invoice"
      routemoa ledger correct 43 --cost 0 --reason "the provider refunded it"
    """
    chosen = others["store"] or outer_store
    correction = correct_call(find_store(chosen), call_id, cost, reason, time.time())
    before, after = correction.before, correction.after
    if as_json:
        click.echo(json.dumps({"before": to_plain(before), "after": to_plain(after)}, indent=1))
        return
    was, now = _format_charge(before), _format_charge(after)
    print_line(
        f"call {call_id} of {before.model}, {format_time(before.began)} UTC: charged {was} -> {now} ({after.note})"
    )


def _format_charge(entry: LedgerEntry) -> str:
    return "an unknown amount" if entry.charged is None else format_dollars(entry.charged, 6)


def _show_ledger(options: LedgerOptions) -> None:
    if options.as_csv and options.as_json:
        raise ConfigError("--csv and --json are two formats; choose one")
    if options.plot:
        from routemoa.cli.ledger.plot import check_plot

        check_plot(options.plot)
    path = find_store(options.store)
    if options.store and isinstance(path, Path) and not path.exists():
        raise ConfigError(f"--store {options.store}: no such file; by default calls are kept in {default_path()}")
    is_table_of_calls = not (options.by or options.plot or options.as_csv or options.as_json)
    limit = options.limit or (DEFAULT_CALLS if is_table_of_calls else None)
    entries = list(read_calls(path, _parse_since(options.since, time.time()), limit))
    if options.as_json:
        _print_json(entries, options.by)
    elif options.as_csv:
        _print_csv(entries, options.by)
    elif entries:
        _print_table(entries if options.limit or options.by else entries[-DEFAULT_CALLS:], options.by)
    if not entries:
        _explain_empty(path, options.since)
    elif options.plot:
        from routemoa.cli.ledger.plot import draw_plot

        draw_plot(options.plot, entries, options.by)
        print_line(f"{options.plot}: open it in any browser", err=True)


def _parse_since(when: str | None, now: float) -> float | None:
    """Return a time as seconds since the epoch."""
    if when is None:
        return None
    if ago := re.fullmatch(r"(\d{1,6})([hd])", when):
        return now - int(ago[1]) * UNITS[ago[2]]
    try:
        return datetime.strptime(when, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except ValueError as e:
        raise ConfigError(f"--since {when}: neither a day nor a time ago; write e.g. 2026-11-25, 24h or 7d") from e


def _explain_empty(path: StoreLocation, since: str | None) -> None:
    """Say why no call is shown, and what to do."""
    latest = next(read_calls(path, last=1), None)
    if since and latest:
        print_line(f"no call since {since}; the last one was on {format_time(latest.began)} UTC", err=True)
    else:
        hint = 'make one with  routemoa ask "..."  or name another file with --store'
        print_line(f"the ledger is empty: {path} holds no call yet; {hint}", err=True)


def _print_json(entries: Sequence[LedgerEntry], by: Grouping | None) -> None:
    if by is None:
        plain: dict[str, object] = {"calls": [to_plain(c) for c in entries]}
    else:
        plain = {
            "by": by,
            "groups": [to_plain(s) for s in group_calls(entries, by)],
            "total": to_plain(summarize_calls("total", entries)),
        }
    click.echo(json.dumps(plain, indent=1))


def _print_csv(entries: Sequence[LedgerEntry], by: Grouping | None) -> None:
    rows: Sequence[LedgerEntry | CallSummary] = entries if by is None else group_calls(entries, by)
    columns = LedgerEntry.__struct_fields__ if by is None else CallSummary.__struct_fields__
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(columns if by is None else (by, *columns[1:]))
    out.writerows([getattr(row, c) for c in columns] for row in rows)


def _print_table(entries: Sequence[LedgerEntry], by: Grouping | None) -> None:
    console = make_console()
    if by is None:
        table, dropped = make_call_table(entries, console.width)
    else:
        bar_width = WIDE_BAR_WIDTH if console.width >= WIDE else BAR_WIDTH
        table, dropped = make_summary_table(
            entries, by, console.width, bar_width=bar_width if sys.stdout.isatty() else 0
        )
    print_fitted(console, table, dropped)
    noted = [e for e in entries if e.note] if by is None else []
    for entry in noted[-MAX_NOTES:]:
        print_line(f"{NOTED} call {entry.id}: {printable_line(entry.note or '')}", err=True)
    if len(noted) > MAX_NOTES:
        print_line(f"{counted(len(noted) - MAX_NOTES, 'more note')}: with --json", err=True)
