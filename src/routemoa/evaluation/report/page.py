"""Render the report as one HTML page: no script, nothing from elsewhere, for screens of any width and for paper."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from routemoa import __version__
from routemoa.core.errors import MissingExtra
from routemoa.evaluation.report import method_sections, mixture_sections
from routemoa.evaluation.report.figures import Report
from routemoa.evaluation.report.svg import Chart
from routemoa.evaluation.report.task_section import view_tasks
from routemoa.evaluation.report.views import PageView

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
    counts = f"{report.questions:,} questions, {len(run.models):,} models, {len(report.rows)} methods{seeds}"
    return PageView(
        title=f"RouteMoA on {run.name}",
        about=f"{counts}; {kind}.",
        version=__version__,
        summary=method_sections.view_summary(report),
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
        finalize=_replace_control_characters,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["inline_svg"] = _inline_svg
    environment.filters["thousands"] = "{:,}".format
    return environment


def _replace_control_characters(value: object) -> object:
    """Replace characters that would hide or reorder text; markup of our own templates is left as it is."""
    return value if hasattr(value, "__html__") else _CONTROL.sub("\ufffd", str(value))


def _inline_svg(chart: Chart) -> Markup:
    """Mark a chart's SVG as markup: matplotlib drew it, and escaped the names in it."""
    from markupsafe import Markup

    return Markup(chart.svg)  # noqa: S704  (drawn here)
