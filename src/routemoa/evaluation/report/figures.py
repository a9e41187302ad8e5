"""Build the figures of a report from outcomes and their summary, for the page and the terminal. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from routemoa.core.types import Scores
from routemoa.evaluation.calibration import Calibration
from routemoa.evaluation.dominance import Dominance, describe_dominance, find_dominating_model
from routemoa.evaluation.outcomes import Outcome, Run
from routemoa.evaluation.report.advice import Advice, build_advice
from routemoa.evaluation.report.caveats import list_caveats
from routemoa.evaluation.report.findings import (
    LayerSummary,
    ModelShares,
    StopSummary,
    TaskComparison,
    compare_tasks,
    count_model_shares,
    measure_calibration,
    summarize_layers,
    summarize_stops,
)
from routemoa.evaluation.report.headline import DENSE, OURS, SINGLE, Headline, build_headline
from routemoa.evaluation.report.method_rows import (
    MEASURES,
    AccuracyGap,
    GroupedOutcomes,
    MethodRow,
    build_rows,
    group_outcomes,
    mean_score,
)
from routemoa.evaluation.statistics import compute_savings

__all__ = ["PARTS", "Ablation", "Report", "Saving", "ScaleCurve", "ScalePoint", "build_report"]

PARTS = {
    "scorer": "the scorer's prior",
    "self": "self-assessments",
    "cross": "cross-assessments",
    "reranking": "reranking after each layer",
    "early-stop": "early stopping",
    "aggregator": "the aggregator",
}
"""Part of the mixture that an ablation leaves out -> its label."""


class Ablation(Struct, frozen=True, rename={"description": "says", "ratios": "times"}):
    """The mixture without one of its parts; `row` and `gap` are None where that was not run."""

    part: str
    description: str
    row: MethodRow | None
    gap: AccuracyGap | None
    """To the whole mixture."""
    ratios: dict[str, float | None]
    """Measure -> spending over the whole mixture's."""


class ScalePoint(Struct, frozen=True):
    """One method in pools of one size; the fields of `Run.scale`."""

    models: int
    accuracy: float | None = None
    ci95: tuple[float, float] | None = None
    calls: float | None = None
    tokens: float | None = None
    cost: float | None = None
    seconds: float | None = None


class ScaleCurve(Struct, frozen=True):
    """One method by the size of the pool."""

    pool: str
    method: str
    points: tuple[ScalePoint, ...]


class Saving(Struct, frozen=True):
    """The share of the dense mixture's spending that is saved on the questions of both, with its 95 % interval."""

    measure: str
    saved: float
    low: float
    high: float


class Report(Struct, frozen=True, rename={"baseline": "against"}):
    """All figures of a report, in the order of its sections."""

    run: Run
    questions: int
    seeds: int
    headline: Headline
    measures: tuple[str, ...]
    """The measures that the tables show, of MEASURES."""
    rows: tuple[MethodRow, ...]
    savings: tuple[Saving, ...]
    tasks: tuple[TaskComparison, ...]
    baseline: str | None
    """The method that stands for the best single model."""
    calibration: Calibration | None
    chosen: ModelShares | None
    layers: tuple[LayerSummary, ...]
    stops: tuple[StopSummary, ...]
    ablations: tuple[Ablation, ...]
    scale: tuple[ScaleCurve, ...]
    caveats: tuple[str, ...]
    advice: Advice
    warnings: tuple[str, ...] = ()
    """Why the figures may mislead, and that one model dominates."""


def build_report(run: Run, outcomes: Sequence[Outcome], figures: Mapping[str, Any]) -> Report:
    """Build the report of a run; `figures` is `statistics.summarize` of the same outcomes."""
    grouped = group_outcomes(outcomes)
    baseline = _best_single(grouped)
    methods = sorted(grouped, key=lambda m: run.methods.index(m) if m in run.methods else len(run.methods))
    rows = build_rows(methods, grouped, figures, baseline, DENSE)
    row_of = {row.method: row for row in rows}
    ours = grouped.get(OURS, {})
    seeds = len({o.seed for o in outcomes})
    headline = build_headline(grouped, row_of, baseline, AccuracyGap.between(figures, OURS, DENSE))
    chosen = count_model_shares(ours, run.models)
    dominance = _find_dominance(run, grouped)
    return Report(
        run=run,
        questions=len({question for questions in grouped.values() for question in questions}),
        seeds=seeds,
        headline=headline,
        measures=_select_measures(rows),
        rows=rows,
        savings=_savings(outcomes, run.seed),
        tasks=compare_tasks(ours, grouped[baseline]) if ours and baseline else (),
        baseline=baseline,
        calibration=measure_calibration(ours),
        chosen=chosen,
        layers=summarize_layers(ours),
        stops=summarize_stops(ours, run.models),
        ablations=_ablations(grouped, row_of, figures),
        scale=_scale_curves(run),
        caveats=list_caveats(run, grouped, rows, baseline, seeds),
        advice=build_advice(run, grouped, figures, headline=headline, rows=rows, chosen=chosen, dominance=dominance),
        warnings=(*run.warnings, *([describe_dominance(dominance)] if dominance else [])),
    )


def _find_dominance(run: Run, grouped: GroupedOutcomes) -> Dominance | None:
    """Return the model that dominates, by the scores of single models that the run holds."""
    questions = sorted({question for outcomes in grouped.values() for question in outcomes})
    rows: list[Scores] = [{} for _ in questions]
    for method, outcomes in grouped.items():
        for row, question in zip(rows, questions, strict=True):
            for outcome in outcomes.get(question, ()):
                if run.kind == "replay":  # live, later answers were written with others in view
                    row.update(outcome.model_scores)
                elif name := _name_of_single(method, outcome):
                    row[name] = outcome.right
    ours = grouped.get(OURS)
    mixture = None if ours is None else [mean_score(ours[q]) if q in ours else None for q in questions]
    return find_dominating_model(rows, [task for task, _ in questions], mixture, run.seed)


def _name_of_single(method: str, outcome: Outcome) -> str | None:
    """Return the model that a method always calls alone; None for other methods."""
    if method == SINGLE:
        return outcome.choice
    return method.removeprefix("single:") if method.startswith("single:") else None


def _best_single(grouped: GroupedOutcomes) -> str | None:
    """Return the method that stands for the best single model: best-single, else the most accurate single:NAME."""
    if SINGLE in grouped:
        return SINGLE

    def accuracy(method: str) -> float:
        scores = [o.right for outcomes in grouped[method].values() for o in outcomes if o.right is not None]
        return sum(scores) / len(scores) if scores else -1.0

    return max((m for m in grouped if m.startswith("single:")), key=accuracy, default=None)


def _select_measures(rows: Sequence[MethodRow]) -> tuple[str, ...]:
    """Return the measures to show: output tokens where prompts were not counted, the critical path without seconds."""

    def count_known(measure: str) -> int:
        return sum(row.means[measure] is not None for row in rows)

    tokens = "tokens" if count_known("tokens") or not count_known("completion_tokens") else "completion_tokens"
    times = ["seconds"]
    if count_known("path_tokens") > count_known("seconds"):
        times = [m for m in ("path_tokens", "seconds") if count_known(m)]
    return ("calls", tokens, "cost", *times)


def _savings(outcomes: Sequence[Outcome], seed: int) -> tuple[Saving, ...]:
    savings = compute_savings(outcomes, OURS, DENSE, seed)
    return tuple(
        Saving("seconds" if name == "latency" else name, saving["saved"], saving["ci95"][0], saving["ci95"][1])
        for name, saving in savings.items()
    )


def _ablations(
    grouped: GroupedOutcomes, row_of: Mapping[str, MethodRow], figures: Mapping[str, Any]
) -> tuple[Ablation, ...]:
    ablations = []
    for part, description in PARTS.items():
        method = f"{OURS}-no-{part}"
        if method in grouped and OURS in grouped:
            gap, ratios = AccuracyGap.between(figures, method, OURS), grouped.ratios(method, OURS)
        else:
            gap, ratios = None, dict.fromkeys(MEASURES)
        ablations.append(Ablation(part, description, row_of.get(method), gap, ratios))
    return tuple(ablations)


def _scale_curves(run: Run) -> tuple[ScaleCurve, ...]:
    """Return the curves of `Run.scale`: {method: points}, or {pool: {method: points}} for several pools."""
    own = {method: points for method, points in run.scale.items() if isinstance(points, list)}
    pools = {run.name: own} | {name: curves for name, curves in run.scale.items() if isinstance(curves, Mapping)}
    return tuple(
        ScaleCurve(pool, method, tuple(sorted(map(_scale_point, points), key=lambda point: point.models)))
        for pool, methods in pools.items()
        for method, points in methods.items()
        if points
    )


def _scale_point(fields: Mapping[str, Any]) -> ScalePoint:
    known = {name: value for name, value in fields.items() if name in ScalePoint.__struct_fields__}
    low, high = known.pop("ci95", None) or (None, None)
    return ScalePoint(**known, ci95=None if low is None or high is None else (float(low), float(high)))
