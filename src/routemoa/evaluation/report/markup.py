"""HTML from figures: whatever is not already HTML is escaped, so that no answer of a model becomes part of the page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

from routemoa.evaluation.report.svg import Chart, format_dollars, format_points, format_whole_percent
from routemoa.evaluation.report.table import AccuracyGap

__all__ = [
    "EXAMPLE",
    "Html",
    "across",
    "change",
    "details",
    "figure",
    "interval",
    "join",
    "number",
    "percent",
    "points",
    "pre",
    "table",
    "tag",
]

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
UNKNOWN = "unknown"
EXAMPLE = "for example"


class Html(str):
    """Text that is markup and stays as it is."""

    __slots__ = ()


def text(given: str) -> Html:
    """Markup as it is, anything else escaped and without control characters."""
    return given if isinstance(given, Html) else Html(escape(_CONTROL.sub("\ufffd", given)))


def join(parts: Iterable[str], between: str = "") -> Html:
    """All of them in a row."""
    return Html(between.join(text(p) for p in parts))


def tag(name: str, *content: str, **attributes: str) -> Html:
    """An element; an attribute's underscores are hyphens, a leading one is left out (`_class`)."""
    said = "".join(f' {k.lstrip("_").replace("_", "-")}="{escape(v)}"' for k, v in attributes.items() if v)
    return Html(f"<{name}{said}>{join(content)}</{name}>")


def table(caption: str, heads: Sequence[str], bodies: Iterable[tuple[str, Iterable[Sequence[str]]]]) -> Html:
    """A table whose first column heads its rows; each body has a heading, or "" for none.

    A column is of figures unless its head is EXAMPLE.
    """
    looks = ["w" if head == EXAMPLE else "n" for head in heads[1:]]
    top = [tag("th", head, scope="col", _class=look) for head, look in zip(heads, ["", *looks], strict=True)]
    parts = [tag("caption", caption), tag("thead", tag("tr", *top))]
    for heading, rows in bodies:
        lines = [
            tag(
                "tr",
                tag("th", row[0], scope="row"),
                *(tag("td", c, _class=k) for c, k in zip(row[1:], looks, strict=True)),
            )
            for row in rows
        ]
        if heading and lines:
            over = tag("th", heading, scope="rowgroup", colspan=str(len(heads)))
            lines.insert(0, tag("tr", over, _class="group"))
        if lines:
            parts.append(tag("tbody", *lines))
    return across(tag("table", *parts), caption)


def across(content: str, label: str) -> Html:
    """What is wider than a narrow window scrolls by itself, by keyboard too."""
    return tag("div", content, _class="across", role="region", aria_label=label, tabindex="0")


def figure(chart: Chart, below: str) -> Html:
    """A chart, and the table of its figures to open."""
    return tag(
        "figure",
        tag("figcaption", chart.title),
        across(Html(chart.svg), chart.title),
        details("The figures of this chart", below),
    )


def details(summary: str, *content: str, _class: str = "") -> Html:
    """Something to open."""
    return tag("details", tag("summary", summary), *content, **({"_class": _class} if _class else {}))


def pre(given: str | None, most: int) -> Html:
    """A text as it was written, cut where it is long."""
    if given is None:
        return tag("p", "not kept", _class="soft")
    cut = f"{given[:most]}\n… ({len(given) - most:,} more characters)" if len(given) > most else given
    return tag("pre", cut or "(empty)")


def percent(share: float | None, digits: int = 1) -> str:
    """A share as a percentage."""
    return UNKNOWN if share is None else f"{100 * share:.{digits}f} %"


def interval(ends: tuple[float, float] | None) -> str:
    """A 95 % interval of a share."""
    return "" if ends is None else f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f}"


def points(gap: AccuracyGap | None) -> Html:
    """A difference in points with its interval."""
    if gap is None:
        return Html("–")
    sure = "sure" if gap.low > 0 or gap.high < 0 else "open"
    ends = f"({format_points(gap.low)} to {format_points(gap.high)})"
    return join([tag("span", format_points(gap.difference), _class=sure), " ", tag("span", ends, _class="soft")])


def change(times: float | None) -> str:
    """A ratio of spendings as what is added or saved."""
    if times is None:
        return UNKNOWN
    return f"+{100 * (times - 1):,.0f} %" if times >= 1 else format_whole_percent(times - 1)


def number(value: float | None, measure: str = "") -> str:
    """A figure as it reads best."""
    if value is None:
        return UNKNOWN
    if measure == "cost":
        return format_dollars(value)
    if measure == "calls":
        return f"{value:.2f}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
