"""The ledger as tables: a row for each call, or for each group of calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from rich.table import Table
from rich.text import Text

from routemoa.cli.terminal.table import fit_table
from routemoa.core.text.dollars import format_dollars
from routemoa.ledger.sums.aggregates import GROUPINGS, CallSummary, Grouping, group_calls, summarize_calls, total_tokens
from routemoa.ledger.sums.queries import LedgerEntry

__all__ = ["NOTED", "format_time", "make_call_table", "make_summary_table"]

STYLES = {"ok": "", "cut": "dim", "open": "dim"}
FAILURE_STYLE = "red"
NOTED = "*"
"""Marks the dollars of a call that has a note."""
LEFT = {*GROUPINGS, "time (UTC)", "outcome"}
FOLDED = set(GROUPINGS) - {"day", "purpose"}  # names, which may be long
OPTIONAL = [
    "endpoint",
    "cached",
    "uncounted",
    "unpriced",
    "cut",
    "key",
    "cost",
    "method",
    "seconds",
    "purpose",
    "written",
    "read",
]
"""Columns that are left out, the first one first, where the terminal is narrow."""
EIGHTHS = " ▏▎▍▌▋▊▉█"


def make_call_table(entries: Sequence[LedgerEntry], width: int) -> tuple[Table, list[str]]:
    """Return a table with a row for each call, at most `width` characters wide, and the columns it leaves out."""
    rows = []
    has_endpoints = any(entry.endpoint for entry in entries)
    columns = {head: cell for head, cell in CALL_COLUMNS.items() if head != "endpoint" or has_endpoints}
    for entry in entries:
        *cells, outcome = [cell(entry) for cell in columns.values()]
        rows.append([*map(Text, cells), Text(outcome, style=STYLES.get(entry.outcome, FAILURE_STYLE))])
    return fit_table([*columns], rows, width, left=LEFT, folded=FOLDED, optional=OPTIONAL)


def make_summary_table(
    entries: Sequence[LedgerEntry], by: Grouping, width: int, *, bar_width: int
) -> tuple[Table, list[str]]:
    """Return a table with a row for each group of calls and one for all, and the columns it leaves out.

    Args:
        entries: the calls.
        by: what groups them.
        width: characters of the terminal.
        bar_width: characters of the bars that compare the groups by dollars, else by tokens; 0 shows none.
    """
    groups, total = group_calls(entries, by), summarize_calls("total", entries)
    in_dollars = bool(total.charged)
    sizes = [float((g.charged if in_dollars else total_tokens(g)) or 0.0) for g in groups]
    bars = "share of dollars" if in_dollars else "share of tokens"
    heads, rows = [by, *SUMMARY_COLUMNS], []
    for group, size in zip((*groups, total), (*sizes, 0.0), strict=True):
        cells = [group.group, *(cell(group) for cell in SUMMARY_COLUMNS.values())]
        row = [Text(cell, style="bold" if group is total else "") for cell in cells]
        rows.append([*row, _make_bar(size, max(sizes), bar_width)] if bar_width else row)
    heads += [bars] if bar_width else []
    return fit_table(heads, rows, width, left={*LEFT, bars}, folded=FOLDED, optional=[*OPTIONAL, bars])


def _make_bar(size: float, largest: float, width: int) -> Text:
    eighths = round(8 * width * size / largest) if largest else 0
    return Text("█" * (eighths // 8) + EIGHTHS[eighths % 8].strip(), style="blue")


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
    "endpoint": lambda c: c.endpoint or "-",
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
