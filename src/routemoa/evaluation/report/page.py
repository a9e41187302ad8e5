"""Render the report as one HTML page: no script, nothing from elsewhere, for screens of any width and for paper."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec.structs import replace

from routemoa import __version__
from routemoa.core.errors import MissingExtra
from routemoa.core.text.plural import counted
from routemoa.evaluation.formatting import shorten
from routemoa.evaluation.report import method_sections, mixture_sections
from routemoa.evaluation.report.figures import Report
from routemoa.evaluation.report.svg import Chart
from routemoa.evaluation.report.task_section import view_tasks
from routemoa.evaluation.report.views import PageView, Section

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

__all__ = ["render"]

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def render(report: Report) -> str:
    """Return the whole page.

    Raises:
        MissingExtra: jinja2 or matplotlib is not installed.
    """
    template = _environment().get_template("page.html")
    return template.render(page=_view_page(report)) + "\n"


def _view_page(report: Report) -> PageView:
    run = report.run
    kind = "run live" if run.kind == "live" else "replayed on recorded answers"
    seeds = f", {report.seeds} seeds" if report.seeds > 1 else ""
    counts = ", ".join(
        [
            counted(report.questions, "question"),
            counted(len(run.models), "model"),
            counted(len(report.rows), "method") + seeds,
        ]
    )
    view = PageView(
        title=f"RouteMoA on {run.name}",
        about=f"{counts}; {kind}.",
        version=__version__,
        sections=(),
        summary=method_sections.view_summary(report),
        advice=report.advice.sentences,
        methods=method_sections.view_methods(report),
        quality=method_sections.view_quality(report),
        savings=method_sections.view_savings(report),
        tasks=view_tasks(report),
        calibration=mixture_sections.view_calibration(report),
        models=mixture_sections.view_models(report),
        layers=mixture_sections.view_layers(report),
        ablations=mixture_sections.view_ablations(report),
        scale=mixture_sections.view_scale(report),
        caveats=report.caveats,
    )
    return replace(view, sections=tuple(_list_sections(view)))


def _list_sections(view: PageView) -> Iterator[Section]:
    """Yield the sections that have contents, each with a heading that says what they are."""
    yield Section("summary", "Summary")
    yield Section("advice", "What to do")
    yield Section("methods", "All methods")
    if view.quality:
        yield Section("quality", f"Accuracy against {' and '.join(view.quality.measures)}")
    if view.savings:
        yield Section("savings", "Spending relative to the dense mixture")
    if view.tasks:
        by_task = ", by task" if len(view.tasks.figure.table.groups[0].rows) > 1 else ""
        yield Section("tasks", f"Differences to {shorten(view.tasks.baseline)}{by_task}")
    if view.calibration:
        yield Section("calibration", "Calibration")
    if view.models:
        yield Section("models", "Models called and chosen")
    if view.layers:
        both = "Layers and reasons to stop" if view.layers.layers and view.layers.stops else ""
        yield Section("layers", both or ("Layers" if view.layers.layers else "Reasons to stop"))
    if view.ablations:
        yield Section("ablations", "Ablations: the mixture without one part")
    if view.scale:
        yield Section("scale", "Pool size")
    if view.caveats:
        yield Section("caveats", "Caveats")


def _environment() -> Environment:
    """Return the templates of this package. They escape everything: models' answers may be hostile."""
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as e:
        raise MissingExtra("jinja2, which lays out the report's page,", "plot") from e
    environment = Environment(
        loader=PackageLoader("routemoa.evaluation.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_clean_output,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["inline_svg"] = _inline_svg
    environment.filters["inline_code"] = _inline_code
    environment.filters["thousands"] = "{:,}".format
    return environment


def _clean_output(value: object) -> object:
    """Replace control characters in all text; markup of our own templates is left as it is."""
    return value if hasattr(value, "__html__") else _replace_control_characters(str(value))


def _replace_control_characters(text: str) -> str:
    """Replace characters that would hide or reorder text."""
    return _CONTROL.sub("\ufffd", text)


def _inline_svg(chart: Chart) -> Markup:
    """Mark a chart's SVG as markup: matplotlib drew it, and escaped the names in it."""
    from markupsafe import Markup

    return Markup(chart.svg)  # noqa: S704  (drawn here)


def _inline_code(text: str) -> Markup:
    """Set what stands between backticks as code; everything is escaped."""
    from markupsafe import Markup, escape

    parts = (
        _replace_control_characters(text).split("`")
        if text.count("`") % 2 == 0
        else [_replace_control_characters(text)]
    )
    codes = (Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in enumerate(parts))
    return Markup("").join(codes)
