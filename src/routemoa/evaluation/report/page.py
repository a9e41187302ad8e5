"""The report as one page of HTML: no script, nothing from elsewhere, for a screen of any width and for paper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.resources import files
from string import Template

from routemoa import __version__
from routemoa.evaluation.report import sections
from routemoa.evaluation.report.examples import helped_and_hurt
from routemoa.evaluation.report.figures import Report
from routemoa.evaluation.report.markup import Html, change, join, tag
from routemoa.evaluation.report.svg import format_points
from routemoa.evaluation.report.table import MEASURES, AccuracyGap

__all__ = ["render"]

NAV = {
    "answer": "The answer",
    "methods": "All methods",
    "quality": "Quality, cost, latency",
    "savings": "Savings",
    "tasks": "Helped and hurt",
    "calibration": "Calibration",
    "chosen": "Who was chosen",
    "stops": "Layers and stops",
    "parts": "Ablations",
    "scale": "Growth",
    "caveats": "Caveats",
}


def render(page: Report) -> str:
    """The whole page. Raises MissingExtra without the plotting library."""
    parts = list(_sections(page))
    contents = join(tag("li", tag("a", NAV[key], href=f"#{key}")) for key, _, _ in parts)
    body = join((_section(*section) for section in parts), "\n")
    run = page.run
    kind = "asked live" if run.kind == "live" else "replayed on recorded answers"
    seeds = f", {page.seeds} seeds" if page.seeds > 1 else ""
    about = f"{page.questions:,} questions, {len(run.models):,} models, {len(page.rows)} methods{seeds}; {kind}."
    root = files("routemoa.evaluation.report")
    return Template((root / "page.html").read_text("utf-8")).substitute(
        title=join([f"RouteMoA on {run.name}"]),
        version=__version__,
        css=(root / "page.css").read_text("utf-8").strip(),
        about=join([about]),
        contents=contents,
        body=body,
    )


def _section(key: str, title: str, content: str) -> Html:
    return tag("section", tag("h2", title, id=key), content, aria_labelledby=key)


def _sections(page: Report) -> Iterator[tuple[str, str, Html]]:
    yield "answer", "Is it better than the best single model, and what does it cost?", _answer(page)
    yield "methods", "All methods", sections.methods(page)
    yield "quality", "Quality against cost and latency", sections.quality_against(page)
    yield "savings", "Savings against the dense mixture", sections.saved(page)
    yield "tasks", "Where routing helped and hurt", helped_and_hurt(page)
    yield "calibration", "Does it know when it is right?", sections.calibrated(page)
    yield "chosen", "Who was chosen when", sections.chosen_when(page.chosen)
    yield "stops", "What each layer added, and why it stopped", sections.stopped(page)
    yield "parts", "What each part added", sections.ablated(page)
    yield "scale", "Growth with the pool", sections.grown(page)
    yield "caveats", "Caveats", tag("ul", *(tag("li", said) for said in page.caveats))


def _answer(page: Report) -> Html:
    head = page.headline
    parts = [tag("p", head.sentence, _class=f"verdict {head.verdict}")]
    for against, gap, times in (
        ("Beside the best single model", head.gap, head.ratios),
        ("Beside the dense mixture (moa)", head.dense_gap, head.dense_ratios),
    ):
        if tiles := list(_tiles(gap, times)):
            parts += [tag("h3", against), tag("dl", *tiles, _class="tiles")]
    if late := next((c for c in page.caveats if c.startswith("This run is not finished")), None):
        parts.append(tag("p", late, _class="note"))
    return join(parts)


def _tiles(gap: AccuracyGap | None, times: Mapping[str, float | None]) -> Iterator[Html]:
    def tile(what: str, figure: str, small: str) -> Html:
        return tag("div", tag("dt", what), tag("dd", figure, tag("small", small)))

    if gap:
        yield tile(
            "points of accuracy",
            format_points(gap.difference),
            f"95 %: {format_points(gap.low)} to {format_points(gap.high)}",
        )
    for measure in ("cost", "tokens", "completion_tokens", "seconds"):
        known = times.get(measure)
        if known is not None and (measure != "completion_tokens" or times.get("tokens") is None):
            figure = f"{known:.2f} ×" if known >= 0.1 else f"{known:.3f} ×"
            yield tile(MEASURES[measure], figure, change(known))
