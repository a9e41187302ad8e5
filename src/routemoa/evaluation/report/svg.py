"""Draw with matplotlib into SVG that is part of a page: text stays text, colours follow the page's.

Every colour is drawn with its value in COLOURS and written as the CSS variable of that name, so that one picture fits
the light, the dark and the printed page. The same figures give the same bytes.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

from msgspec import Struct

from routemoa.core.errors import MissingExtra

__all__ = ["COLOURS", "WIDTH", "Chart", "open_figure", "render_svg"]

WIDTH = 620
"""Points of a wide chart."""
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
_TAG = re.compile(r"<[^<>]*>")
_UNWANTED = re.compile(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", re.DOTALL)


class Chart(Struct, frozen=True):
    """A picture with its title and, for readers who do not see it, a description."""

    title: str
    description: str
    svg: str


@contextmanager
def open_figure(width: float, height: float) -> Iterator[Any]:
    """Yield a matplotlib figure of so many points in the report's style.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as e:
        raise MissingExtra("matplotlib, which draws the charts,", "plot") from e
    with rc_context(_STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a glyph that its font lacks is measured wrongly; the browser has its own
        figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
        FigureCanvasAgg(figure)  # measures text
        yield figure


def render_svg(figure: Any, key: str, title: str, description: str) -> Chart:
    """Return the figure as an SVG element; `key` makes its ids unique in the page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    drawn = buffer.getvalue()
    width, height = figure.get_size_inches() * 72
    inner = drawn[drawn.index(">", drawn.index("<svg")) + 1 : drawn.rindex("</svg>")]
    inner = _UNWANTED.sub("", inner)
    inner = _TAG.sub(lambda tag: _adapt_tag(tag[0], key), inner)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-labelledby="{key}-title {key}-desc">'
        f'<title id="{key}-title">{escape(title)}</title><desc id="{key}-desc">{escape(description)}</desc>'
    )
    inner = re.sub(r"(?<![ \n])[ \n]*\n *", "\n", inner)
    return Chart(title, description, f"{head}{inner}</svg>")


def _adapt_tag(tag: str, key: str) -> str:
    """Return a tag with ids, references, colours and fonts of the page."""
    tag = re.sub(r'\bid="', f'id="{key}-', tag)
    tag = re.sub(r'(?:xlink:)?href="#', f'href="#{key}-', tag)
    tag = tag.replace("url(#", f"url(#{key}-")
    tag = re.sub(r"font-family: [^;\"]*", "font-family: inherit", tag)
    tag = re.sub(r"font: ([^;\"]*?px) [^;\"]*", r"font-size: \1; font-family: inherit", tag)
    for name, value in COLOURS.items():
        tag = tag.replace(value, f"var(--{name})")
    return tag
