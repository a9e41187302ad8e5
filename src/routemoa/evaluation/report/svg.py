"""A picture of matplotlib's as SVG that stands inside a page: its text stays text, its colours follow the page's.

Every colour is drawn as the value it has in COLOURS and written as the variable of that name, so that one picture is
right in light, in dark and on paper. The same figures give the same bytes.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

from msgspec import Struct

from routemoa.core.errors import MissingExtra

__all__ = [
    "COLOURS",
    "WIDTH",
    "Chart",
    "format_dollars",
    "format_points",
    "format_whole_percent",
    "open_figure",
    "render_svg",
    "shorten",
]

WIDTH = 620  # of a chart, in points
COLOURS = {  # of Okabe and Ito; the page darkens or lightens them for its background
    "ink": "#1b1c1e",
    "soft": "#5e6068",
    "rule": "#d8dade",
    "paper": "#fffffe",
    "blue": "#0072b2",
    "vermilion": "#d55e00",
    "green": "#009e73",
    "purple": "#cc79a7",
    "orange": "#e69f00",
    "sky": "#56b4e9",
}
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "routemoa",
    "text.parse_math": False,  # a name with dollar signs is a name
    "font.family": "DejaVu Sans",
    "font.size": 12.5,
    "axes.titlesize": 13,
    "axes.titlelocation": "left",
    "axes.edgecolor": COLOURS["soft"],
    "axes.labelcolor": COLOURS["ink"],
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": COLOURS["rule"],
    "grid.linewidth": 0.8,
    "figure.facecolor": "none",
    "figure.dpi": 72,
    "text.color": COLOURS["ink"],
    "xtick.color": COLOURS["soft"],
    "ytick.color": COLOURS["soft"],
    "xtick.labelcolor": COLOURS["ink"],
    "ytick.labelcolor": COLOURS["ink"],
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}
_TAG = re.compile(r"<[^>]*>")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


class Chart(Struct, frozen=True):
    """A picture, what it is called, and what it shows for those who do not see it."""

    title: str
    text: str
    svg: str


@contextmanager
def open_figure(width: float, height: float) -> Iterator[Any]:
    """A figure of so many points in the house's style. Raises MissingExtra."""
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as e:
        raise MissingExtra("matplotlib, which draws the report's charts,", "eval") from e
    with rc_context(_STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a glyph that its font lacks is measured wrongly; the browser has its own
        figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
        FigureCanvasAgg(figure)  # measures text
        yield figure


def render_svg(figure: Any, key: str, title: str, text: str) -> Chart:
    """The figure as an element of a page; `key` makes its ids its own."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    drawn = buffer.getvalue()
    width, height = figure.get_size_inches() * 72
    inner = drawn[drawn.index(">", drawn.index("<svg")) + 1 : drawn.rindex("</svg>")]
    for unwanted in (r"<!--.*?-->", r"<metadata>.*?</metadata>", r"<style.*?</style>"):
        inner = re.sub(unwanted, "", inner, flags=re.DOTALL)
    inner = _TAG.sub(lambda tag: _own(tag[0], key), inner)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-labelledby="{key}-title {key}-desc">'
        f'<title id="{key}-title">{escape(title)}</title><desc id="{key}-desc">{escape(text)}</desc>'
    )
    inner = re.sub(r"[ \n]*\n *", "\n", inner)
    return Chart(title, text, f"{head}{inner}</svg>")


def _own(tag: str, key: str) -> str:
    """A tag with ids, references, colours and fonts of the page."""
    tag = re.sub(r'\bid="', f'id="{key}-', tag)
    tag = re.sub(r'(?:xlink:)?href="#', f'href="#{key}-', tag)
    tag = tag.replace("url(#", f"url(#{key}-")
    tag = re.sub(r"font-family: [^;\"]*", "font-family: inherit", tag)
    tag = re.sub(r"font: ([^;\"]*?px) [^;\"]*", r"font-size: \1; font-family: inherit", tag)
    for name, value in COLOURS.items():
        tag = tag.replace(value, f"var(--{name})")
    return tag


def format_whole_percent(share: float) -> str:
    """A share in percent, whole; with a digit more where all but little is meant: 99.5 is not 100."""
    digits = 1 if 0.985 <= abs(share) < 1 else 0
    return f"{100 * share:.{digits}f} %".replace("-", "−")


def format_points(points: float) -> str:
    """A difference of shares in points, without a zero that is below zero."""
    return f"{round(100 * points, 1) + 0.0:+.1f}".replace("-", "−")


def format_dollars(dollars: float) -> str:
    """Dollars with two figures, however little it is."""
    if not dollars:
        return "$0"
    digits = max(2, 1 - math.floor(math.log10(abs(dollars))))
    return f"${dollars:,.{digits}f}"


def shorten(name: str, width: int = 26) -> str:
    """A name as a label: one line, no control characters, cut where it is long."""
    clean = _CONTROL.sub(" ", name).strip()
    return clean if len(clean) <= width else clean[: width - 1] + "…"
