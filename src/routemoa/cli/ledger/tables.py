"""The ledger as tables: a row for each call, or for each group of calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from rich.bar import Bar
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from routemoa.cli.terminal.table import make_table
from routemoa.evaluation.report.formatting import format_dollars
from routemoa.ledger.aggregates import GROUPINGS, CallSummary, Grouping, group_calls, summarize_calls, total_tokens
from routemoa.ledger.queries import LedgerEntry

__all__ = ["NOTED", "format_time", "make_call_table", "make_summary_table"]

STYLES = {"ok": "", "cut": "dim", "open": "dim"}
FAILURE_STYLE = "red"
NOTED = "*"
"""Marks the dollars of a call that has a note."""
LEFT = {*GROUPINGS, "time (UTC)", "outcome"}
FOLDED = set(GROUPINGS) - {"day", "purpose"}  # names, which may be long
WIDE_ONLY = {"key", "method", "cached", "cut", "uncounted", "cost", "unpriced", "seconds"}  # shown where they fit


def make_call_table(entries: Sequence[LedgerEntry], *, is_wide: bool) -> Table:
    """Return a table with a row for each call; with `is_wide`, with all columns."""
    columns = {head: cell for head, cell in CALL_COLUMNS.items() if is_wide or head not in WIDE_ONLY}
    table = make_table([*columns], left=LEFT, folded=FOLDED)
    for entry in entries:
        *cells, outcome = [cell(entry) for cell in columns.values()]
        table.add_row(*map(Text, cells), Text(outcome, style=STYLES.get(entry.outcome, FAILURE_STYLE)))
    return table


def make_summary_table(entries: Sequence[LedgerEntry], by: Grouping, *, is_wide: bool, bar_width: int) -> Table:
    """Return a table with a row for each group of calls and one for all.

    Args:
        entries: the calls.
        by: what groups them.
        is_wide: whether to show all columns.
        bar_width: characters of the bars that compare the groups by dollars, else by tokens; 0 shows none.
    """
    groups, total = group_calls(entries, by), summarize_calls("total", entries)
    columns = {head: cell for head, cell in SUMMARY_COLUMNS.items() if is_wide or head not in WIDE_ONLY}
    table = make_table([by, *columns], left=LEFT, folded=FOLDED)
    in_dollars = bool(total.charged)
    if bar_width:
        table.add_column("charged" if in_dollars else "tokens", min_width=bar_width)
    sizes = [float((g.charged if in_dollars else total_tokens(g)) or 0.0) for g in groups]
    for group, size in zip((*groups, total), (*sizes, 0.0), strict=True):
        cells: list[RenderableType] = [Text(group.group), *(Text(cell(group)) for cell in columns.values())]
        cells += [Bar(max(sizes), 0, size, width=bar_width, color="blue")] if bar_width and size else []
        table.add_row(*cells, style="bold" if group is total else "")
    return table


def format_time(seconds: float) -> str:
    """Return a time since the epoch as a UTC date and time."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _dollars(value: float | None) -> str:
    return "-" if value is None else format_dollars(value)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


CALL_COLUMNS: dict[str, Callable[[LedgerEntry], str]] = {
    "id": lambda c: str(c.id),
    "time (UTC)": lambda c: format_time(c.began),
    "key": lambda c: c.key,
    "method": lambda c: c.method,
    "purpose": lambda c: c.purpose,
    "model": lambda c: c.model,
    "read": lambda c: _count(c.prompt_tokens),
    "cached": lambda c: _count(c.cached_tokens),
    "written": lambda c: _count(c.completion_tokens),
    "cost": lambda c: _dollars(c.cost),
    "charged": lambda c: _dollars(c.charged) + (NOTED if c.note else ""),
    "seconds": lambda c: _seconds(c.seconds),
    "outcome": lambda c: c.outcome,
}
SUMMARY_COLUMNS: dict[str, Callable[[CallSummary], str]] = {
    "calls": lambda s: _count(s.calls),
    "failed": lambda s: _count(s.failed),
    "cut": lambda s: _count(s.cut),
    "read": lambda s: _count(s.prompt_tokens),
    "cached": lambda s: _count(s.cached_tokens),
    "written": lambda s: _count(s.completion_tokens),
    "uncounted": lambda s: _count(s.uncounted),
    "cost": lambda s: _dollars(s.cost),
    "unpriced": lambda s: _count(s.unpriced),
    "charged": lambda s: _dollars(s.charged),
    "seconds": lambda s: _seconds(s.seconds),
}
