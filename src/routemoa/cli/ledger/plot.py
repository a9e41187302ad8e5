"""The ledger as a picture: dollars a day, stacked by model, or a bar for each group."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from routemoa.cli.terminal.session import check_writable
from routemoa.core.errors import ConfigError, MissingExtra
from routemoa.evaluation.report.formatting import format_dollars, shorten
from routemoa.evaluation.report.svg import COLOURS, open_figure
from routemoa.ledger.aggregates import Grouping, group_name, total_tokens
from routemoa.ledger.queries import LedgerEntry

__all__ = ["check", "draw"]

HUES = ("blue", "orange", "green", "vermilion", "sky", "purple")  # then all others together
GROUPS = 24  # bars; the table has all


def check(path: str) -> None:
    """Fail before the work: the library must be there, and the name end in .svg or .png."""
    if not path.endswith((".svg", ".png")):
        raise ConfigError(f"--plot {path}: the name must end in .svg or .png")
    check_writable(path)
    if find_spec("matplotlib") is None:
        raise MissingExtra("matplotlib, which draws the plot,", "plot")


def draw(path: str, calls: Sequence[LedgerEntry], by: Grouping | None) -> None:
    """Write the picture. Where no dollars are known, it shows tokens and says so."""
    dollars = any(c.cost for c in calls)
    amounts = [(c, float((c.cost if dollars else total_tokens(c)) or 0.0)) for c in calls]
    what = "Dollars" if dollars else "Tokens (no dollars are known)"
    if by is None or by == "day":
        days = _days([a[0] for a in amounts])
        with open_figure(max(520, min(900, 260 + 26 * len(days))), 340) as figure:
            _stacked(figure.subplots(), amounts, days, dollars)
            _finish(figure, path, f"{what} a day, by model (UTC)")
        return
    totals: dict[str, float] = {}
    for call, amount in amounts:
        totals[group_name(call, by)] = totals.get(group_name(call, by), 0.0) + amount
    shown = sorted(totals.items(), key=lambda t: (-t[1], t[0]))[:GROUPS]
    rest = f", the first {GROUPS} of {len(totals)}" if len(totals) > GROUPS else ""
    with open_figure(620, 80 + 26 * len(shown)) as figure:
        _bars(figure.subplots(), shown, dollars)
        _finish(figure, path, f"{what} by {by}{rest}")


def _days(calls: Sequence[LedgerEntry]) -> list[str]:
    """Every day from the first to the last: one without calls is a gap, not left out."""
    found = [date.fromisoformat(group_name(c, "day")) for c in (min(calls, key=_began), max(calls, key=_began))]
    return [(found[0] + timedelta(n)).isoformat() for n in range((found[1] - found[0]).days + 1)]


def _began(call: LedgerEntry) -> float:
    return call.began


def _stacked(axis: Any, amounts: Sequence[tuple[LedgerEntry, float]], days: Sequence[str], dollars: bool) -> None:
    totals: dict[str, float] = {}
    cells: dict[tuple[str, str], float] = {}
    for call, amount in amounts:
        totals[call.model] = totals.get(call.model, 0.0) + amount
    order = sorted(totals, key=lambda m: (-totals[m], m))
    own = order if len(order) <= len(HUES) else order[: len(HUES) - 1]
    for call, amount in amounts:
        cell = (call.model if call.model in own else "", group_name(call, "day"))
        cells[cell] = cells.get(cell, 0.0) + amount
    bottom = [0.0] * len(days)
    looks = [(m, shorten(m), COLOURS[hue]) for m, hue in zip(own, HUES, strict=False)]
    looks += [("", f"{len(order) - len(own)} others", COLOURS["soft"])] if len(own) < len(order) else []
    for model, name, colour in looks:
        heights = [cells.get((model, day), 0.0) for day in days]
        axis.bar(range(len(days)), heights, bottom=bottom, width=0.8, color=colour, label=name)
        bottom = [b + h for b, h in zip(bottom, heights, strict=True)]
    room = max(0.7, (6 - len(days)) / 2)  # one day is a bar, not a wall
    axis.set_xlim(-room, len(days) - 1 + room)
    step = max(1, -(-len(days) // 10))
    axis.set_xticks(range(0, len(days), step), [_short_day(days[i], i == 0) for i in range(0, len(days), step)])
    axis.grid(axis="x", visible=False)
    axis.set_ylim(bottom=0)
    axis.yaxis.set_major_formatter(_amount(axis.get_yticks(), dollars))
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), reverse=True)


def _bars(axis: Any, shown: Sequence[tuple[str, float]], dollars: bool) -> None:
    places = range(len(shown))
    axis.barh(places, [amount for _, amount in shown], height=0.65, color=COLOURS["blue"])
    for place, (_, amount) in zip(places, shown, strict=True):
        said = format_dollars(amount) if dollars else f"{amount:,.0f}"
        axis.annotate(said, (amount, place), (6, 0), textcoords="offset points", va="center", fontsize=12)
    axis.set_yticks(places, [shorten(name) for name, _ in shown])
    axis.set_xlim(0, max(amount for _, amount in shown) * 1.18 or 1)
    axis.set_ylim(len(shown) - 0.4, -0.6)
    axis.locator_params(axis="x", nbins=5)
    axis.xaxis.set_major_formatter(_amount(axis.get_xticks(), dollars))
    axis.grid(axis="y", visible=False)


def _short_day(day: str, first: bool) -> str:
    at = date.fromisoformat(day)
    return f"{at:%b} {at.day}\n{at.year}" if first or (at.month == 1 and at.day <= 10) else f"{at:%b} {at.day}"


def _amount(ticks: Sequence[float], dollars: bool) -> Any:
    """A tick as text, all with as many digits as their step needs."""
    step = float(ticks[1] - ticks[0])
    digits = 0 if step >= 1 or not dollars else max(2, -math.floor(math.log10(step)))
    return lambda value, _: f"{'$' if dollars else ''}{value:,.{digits}f}"


def _finish(figure: Any, path: str, title: str) -> None:
    """With a title and a background of its own: it stands alone. Written at once or not at all."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=13.5, fontweight="bold")
    figure.set_facecolor(COLOURS["paper"])
    part = Path(f"{path}.part")
    figure.savefig(part, format=path[-3:], dpi=144, metadata={"Date": None} if path.endswith("svg") else None)
    part.replace(path)
