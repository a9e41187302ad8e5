"""The report's first sentence: is the mixture more accurate than the best single model, and at what cost?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

from routemoa.core.text.plural import counted
from routemoa.evaluation.formatting import format_points
from routemoa.evaluation.report.method_rows import MEASURES, AccuracyGap, GroupedOutcomes, MethodRow

__all__ = ["DENSE", "OURS", "SINGLE", "Headline", "build_headline"]

OURS, SINGLE, DENSE = "routemoa", "best-single", "moa"


class Headline(Struct, frozen=True, rename={"baseline": "against", "ratios": "times", "dense_ratios": "dense"}):
    """The mixture beside the best single model and the dense mixture."""

    verdict: Literal["better", "worse", "open", "unknown"]
    """Better or worse than the best single model; "open" where the interval of the difference includes zero."""
    sentence: str
    baseline: str | None = None
    """The method that stands for the best single model."""
    gap: AccuracyGap | None = None
    """To the best single model."""
    ratios: dict[str, float | None] = {}
    """Measure -> our spending over the best single model's."""
    dense_ratios: dict[str, float | None] = {}
    """Measure -> our spending over the dense mixture's."""
    dense_gap: AccuracyGap | None = None
    """To the dense mixture."""


def build_headline(
    grouped: GroupedOutcomes, rows: Mapping[str, MethodRow], baseline: str | None, dense_gap: AccuracyGap | None
) -> Headline:
    """Compare the mixture with the method that stands for the best single model; `rows` are by method."""
    if OURS not in grouped:
        sentence = "Unknown: routemoa itself is not among the methods of this run."
        return Headline("unknown", sentence, dense_gap=dense_gap)
    dense_ratios = rows[OURS].dense_ratios
    if baseline is None:
        sentence = "Unknown: this run has no single model to compare routemoa with."
        return Headline("unknown", sentence, dense_ratios=dense_ratios, dense_gap=dense_gap)
    gap, ratios = rows[OURS].gap, grouped.ratios(OURS, baseline)
    verdict: Literal["better", "worse", "open", "unknown"] = "unknown"
    if gap is not None:
        verdict = "better" if gap.low > 0 else "worse" if gap.high < 0 else "open"
    is_free = rows[OURS].means["cost"] == 0 == rows[baseline].means["cost"]
    compared = {measure: ratio for measure, ratio in ratios.items() if measure != "cost" or not is_free}
    shared = len(grouped[OURS].keys() & grouped[baseline].keys())
    sentence = _sentence(gap, baseline, shared, compared)
    return Headline(verdict, sentence, baseline, gap, ratios, dense_ratios, dense_gap)


def _sentence(gap: AccuracyGap | None, baseline: str, shared: int, ratios: Mapping[str, float | None]) -> str:
    single = "the best single model"
    if baseline != SINGLE:
        single = f"{baseline.removeprefix('single:')}, {single}"
    if gap is None:
        return f"Unknown: no question was graded for both routemoa and {single}{_spending(ratios, '; it took')}."
    count = gap.n or shared
    where = f"on {counted(count, 'question')}"
    size = f"{100 * abs(gap.difference):.1f} points"
    interval = f"95 % interval {format_points(gap.low)} to {format_points(gap.high)}"
    if gap.low > 0:
        spending = _spending(ratios, ", at")
        return f"Better: {where} RouteMoA is {size} more accurate than {single} ({interval}){spending}."
    if gap.high < 0:
        spending = _spending(ratios, ", at")
        return f"Worse: {where} RouteMoA is {size} less accurate than {single} ({interval}){spending}."
    return (
        f"No significant difference {where}: RouteMoA and {single} differ by {format_points(gap.difference)} points, "
        f"and the {interval} includes zero{_spending(ratios, '; RouteMoA took')}."
    )


def _spending(ratios: Mapping[str, float | None], lead: str) -> str:
    """Return the end of a sentence that gives the ratios of dollars, tokens and time."""
    tokens = "completion_tokens" if ratios.get("tokens") is None and ratios.get("completion_tokens") else "tokens"
    clock = "path_tokens" if ratios.get("seconds") is None and ratios.get("path_tokens") else "seconds"
    labels = {measure: MEASURES[measure] for measure in ("cost", tokens, clock) if measure in ratios}
    known = [f"{ratios[m]:.2f} times the {label}" for m, label in labels.items() if ratios[m] is not None]
    unknown = [label for m, label in labels.items() if ratios[m] is None]
    clause = f"{lead} {_join_with_and(known)}" if known else ""
    return f"{clause}; {_join_with_and(unknown)} cannot be compared" if unknown else clause


def _join_with_and(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)
