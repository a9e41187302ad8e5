"""The ledger as a plot: dollars a day, stacked by model, or a bar for each group of calls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from routemoa.cli.terminal.files import check_writable
from routemoa.core.errors import ConfigError, MissingExtra
from routemoa.core.text.dollars import format_dollars
from routemoa.evaluation.formatting import shorten
from routemoa.evaluation.report.svg import COLOURS, open_figure
from routemoa.ledger.sums.aggregates import Grouping, group_name, total_tokens
from routemoa.ledger.sums.queries import LedgerEntry

__all__ = ["check_plot", "draw_plot"]

MODEL_COLORS = ("blue", "orange", "green", "vermilion", "sky", "purple")  # the models beyond these share one
MAX_BARS = 24  # the table has all groups
MAX_DAY_LABELS = 10


def check_plot(path: str) -> None:
    """Raise an error before the work where the plot cannot be drawn.

    Raises:
        ConfigError: the name does not end in .svg or .png, or the folder cannot be written to.
        MissingExtra: matplotlib is not installed.
    """
    if not path.endswith((".svg", ".png")):
        raise ConfigError(f"--plot {path}: the name must end in .svg or .png")
    check_writable(path)
    if find_spec("matplotlib") is None:
        raise MissingExtra("matplotlib, which draws the plot,", "plot")


def draw_plot(path: str, calls: Sequence[LedgerEntry], by: Grouping | None) -> None:
    """Draw dollars a day by model, or the sums of each group; tokens where no dollars are known.

    Args:
        path: the file to write.
        calls: what to draw.
        by: what groups the calls; None and "day" draw the days.
    """
    in_dollars = any(c.cost for c in calls)
    amounts = [(c, float((c.cost if in_dollars else total_tokens(c)) or 0.0)) for c in calls]
    unit = "Dollars" if in_dollars else "Tokens (no dollars are known)"
    if by is None or by == "day":
        days = _list_days(calls)
        with open_figure(max(520, min(900, 260 + 26 * len(days))), 340) as figure:
            _draw_days(figure.subplots(), amounts, days, in_dollars)
            _save(figure, path, f"{unit} a day, by model (UTC)")
        return
    totals: dict[str, float] = {}
    for call, amount in amounts:
        totals[group_name(call, by)] = totals.get(group_name(call, by), 0.0) + amount
    shown = sorted(totals.items(), key=lambda t: (-t[1], t[0]))[:MAX_BARS]
    rest = f", the first {MAX_BARS} of {len(totals)}" if len(totals) > MAX_BARS else ""
    with open_figure(620, 80 + 26 * len(shown)) as figure:
        _draw_bars(figure.subplots(), shown, in_dollars)
        _save(figure, path, f"{unit} by {by}{rest}")


def _list_days(calls: Sequence[LedgerEntry]) -> list[str]:
    """Return every day from the first call to the last: a day without calls is a gap in the plot."""
    by_time = sorted(calls, key=lambda c: c.began)
    first, last = (date.fromisoformat(group_name(c, "day")) for c in (by_time[0], by_time[-1]))
    return [(first + timedelta(n)).isoformat() for n in range((last - first).days + 1)]


def _draw_days(axis: Any, amounts: Sequence[tuple[LedgerEntry, float]], days: Sequence[str], in_dollars: bool) -> None:
    totals: dict[str, float] = {}
    for call, amount in amounts:
        totals[call.model] = totals.get(call.model, 0.0) + amount
    order = sorted(totals, key=lambda m: (-totals[m], m))
    named = order if len(order) <= len(MODEL_COLORS) else order[: len(MODEL_COLORS) - 1]
    cells: dict[tuple[str, str], float] = {}
    for call, amount in amounts:
        cell = (call.model if call.model in named else "", group_name(call, "day"))
        cells[cell] = cells.get(cell, 0.0) + amount
    series = [(m, shorten(m), COLOURS[color]) for m, color in zip(named, MODEL_COLORS, strict=False)]
    series += [("", f"{len(order) - len(named)} others", COLOURS["soft"])] if len(named) < len(order) else []
    bottom = [0.0] * len(days)
    for model, label, color in series:
        heights = [cells.get((model, day), 0.0) for day in days]
        axis.bar(range(len(days)), heights, bottom=bottom, width=0.8, color=color, label=label)
        bottom = [b + h for b, h in zip(bottom, heights, strict=True)]
    margin = max(0.7, (6 - len(days)) / 2)  # the bars of a few days stay narrow
    axis.set_xlim(-margin, len(days) - 1 + margin)
    step = max(1, -(-len(days) // MAX_DAY_LABELS))
    axis.set_xticks(range(0, len(days), step), [_label_day(days[i], i == 0) for i in range(0, len(days), step)])
    axis.grid(axis="x", visible=False)
    axis.set_ylim(bottom=0)
    axis.yaxis.set_major_formatter(_make_formatter(axis.get_yticks(), in_dollars))
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), reverse=True)


def _draw_bars(axis: Any, shown: Sequence[tuple[str, float]], in_dollars: bool) -> None:
    positions = range(len(shown))
    axis.barh(positions, [amount for _, amount in shown], height=0.65, color=COLOURS["blue"])
    for position, (_, amount) in zip(positions, shown, strict=True):
        label = format_dollars(amount) if in_dollars else f"{amount:,.0f}"
        axis.annotate(label, (amount, position), (6, 0), textcoords="offset points", va="center", fontsize=12)
    axis.set_yticks(positions, [shorten(name) for name, _ in shown])
    axis.set_xlim(0, max(amount for _, amount in shown) * 1.18 or 1)
    axis.set_ylim(len(shown) - 0.4, -0.6)
    axis.locator_params(axis="x", nbins=5)
    axis.xaxis.set_major_formatter(_make_formatter(axis.get_xticks(), in_dollars))
    axis.grid(axis="y", visible=False)


def _label_day(day: str, is_first: bool) -> str:
    """Return month and day, with the year below the first day and at the start of a year."""
    at = date.fromisoformat(day)
    has_year = is_first or (at.month == 1 and at.day <= 10)
    return f"{at:%b} {at.day}\n{at.year}" if has_year else f"{at:%b} {at.day}"


def _make_formatter(ticks: Sequence[float], in_dollars: bool) -> Any:
    """Return a function that formats a tick, all with as many digits as their distance needs."""
    step = float(ticks[1] - ticks[0])
    digits = 0 if step >= 1 or not in_dollars else max(2, -math.floor(math.log10(step)))
    return lambda value, _: f"{'$' if in_dollars else ''}{value:,.{digits}f}"


def _save(figure: Any, path: str, title: str) -> None:
    """Add a title and a background, so that the plot stands alone, and write it in one step."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=13.5, fontweight="bold")
    figure.set_facecolor(COLOURS["paper"])
    part = Path(f"{path}.part")
    figure.savefig(part, format=path[-3:], dpi=144, metadata={"Date": None} if path.endswith("svg") else None)
    part.replace(path)
