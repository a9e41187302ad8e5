"""The figures of a report, from outcomes and their summary: what a page and a terminal then show. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from routemoa.evaluation.outcomes import Outcome, Run
from routemoa.evaluation.report.caveats import caveats
from routemoa.evaluation.report.findings import (
    Calibration,
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
from routemoa.evaluation.report.svg import format_points
from routemoa.evaluation.report.table import MEASURES, AccuracyGap, Cases, Row, build_rows, group_outcomes
from routemoa.evaluation.statistics import compute_savings

__all__ = ["OURS", "PARTS", "Ablation", "Headline", "Report", "Saving", "ScaleCurve", "ScalePoint", "build_report"]

OURS, SINGLE, DENSE = "routemoa", "best-single", "moa"
PARTS = {
    "scorer": "the scorer's prior",
    "self": "self-assessments",
    "cross": "cross-assessments",
    "reranking": "ranking anew after each layer",
    "early-stop": "stopping early",
    "aggregator": "the aggregator",
}


class Headline(Struct, frozen=True, rename={"baseline": "against", "ratios": "times", "dense_ratios": "dense"}):
    """Whether it is better than the best single model, and what it costs: `times` is our spending over theirs."""

    verdict: Literal["better", "worse", "open", "unknown"]
    sentence: str
    baseline: str | None = None
    gap: AccuracyGap | None = None
    ratios: dict[str, float | None] = {}
    dense_ratios: dict[str, float | None] = {}  # our spending over the dense mixture's
    dense_gap: AccuracyGap | None = None


class Ablation(Struct, frozen=True, rename={"description": "says", "ratios": "times"}):
    """The mixture without one of its parts; `row` and `gap` are None where that was not run."""

    part: str
    description: str
    row: Row | None
    gap: AccuracyGap | None
    ratios: dict[str, float | None]


class ScalePoint(Struct, frozen=True):
    """One pool size of one method; the fields of `Run.scale`."""

    models: int
    accuracy: float | None = None
    ci95: tuple[float, float] | None = None
    calls: float | None = None
    tokens: float | None = None
    cost: float | None = None
    seconds: float | None = None


class ScaleCurve(Struct, frozen=True):
    """How one method grows with the pool."""

    pool: str
    method: str
    points: tuple[ScalePoint, ...]


class Saving(Struct, frozen=True):
    """The share of a dense mixture's spending that is saved on the questions of both, with its 95 % interval."""

    measure: str
    saved: float
    low: float
    high: float


class Report(Struct, frozen=True, rename={"baseline": "against"}):
    """Everything a report says, in the order in which it says it."""

    run: Run
    questions: int
    seeds: int
    headline: Headline
    measures: tuple[str, ...]  # of MEASURES, those that the tables show
    rows: tuple[Row, ...]
    savings: tuple[Saving, ...]
    tasks: tuple[TaskComparison, ...]
    baseline: str | None
    calibration: Calibration | None
    chosen: ModelShares | None
    layers: tuple[LayerSummary, ...]
    stops: tuple[StopSummary, ...]
    ablations: tuple[Ablation, ...]
    scale: tuple[ScaleCurve, ...]
    caveats: tuple[str, ...]


def build_report(run: Run, outcomes: Sequence[Outcome], figures: Mapping[str, Any]) -> Report:
    """The page of a run; `figures` is routemoa.evaluation.statistics.summarise of the same outcomes."""
    found = group_outcomes(outcomes)
    against = _single(found, run)
    order = sorted(found, key=lambda m: run.methods.index(m) if m in run.methods else len(run.methods))
    lines = build_rows(order, found, figures, against, DENSE)
    ours = found.get(OURS, {})
    count = len({key for method in found.values() for key in method})
    seeds = len({o.seed for o in outcomes})
    headline = _headline(found, {r.method: r for r in lines}, against)
    headline = replace(headline, dense_gap=AccuracyGap.between(figures, OURS, DENSE))
    return Report(
        run=run,
        questions=count,
        seeds=seeds,
        headline=headline,
        measures=_measures(lines),
        rows=lines,
        savings=_savings(outcomes, run.seed),
        tasks=compare_tasks(ours, found[against]) if ours and against else (),
        baseline=against,
        calibration=measure_calibration(ours),
        chosen=count_model_shares(ours, run.models),
        layers=summarize_layers(ours),
        stops=summarize_stops(ours, run.models),
        ablations=_ablations(found, {r.method: r for r in lines}, figures),
        scale=_scale(run),
        caveats=caveats(run, found, lines, against, seeds),
    )


def _single(found: Cases, run: Run) -> str | None:
    """What stands for the best single model: the one chosen beforehand, else the best of those that were run."""
    if SINGLE in found:
        return SINGLE
    alone = [m for m in found if m.startswith("single:")]

    def share(method: str) -> float:
        grades = [o.right for of in found[method].values() for o in of if o.right is not None]
        return sum(grades) / len(grades) if grades else -1.0

    return max(alone, key=share, default=None)


def _measures(lines: Sequence[Row]) -> tuple[str, ...]:
    """Written tokens stand for all where nobody knows what was read; the critical path for seconds not known."""

    def known(measure: str) -> int:
        return sum(r.means[measure] is not None for r in lines)

    tokens = "tokens" if known("tokens") or not known("completion_tokens") else "completion_tokens"
    clock = (
        [m for m in ("path_tokens", "seconds") if known(m)] if known("path_tokens") > known("seconds") else ["seconds"]
    )
    return ("calls", tokens, "cost", *clock)


def _headline(found: Cases, lines: Mapping[str, Row], against: str | None) -> Headline:
    if OURS not in found:
        return Headline("unknown", "Unknown: routemoa itself is not among the methods of this run.")
    dense = lines[OURS].dense_ratios
    if against is None:
        return Headline(
            "unknown", "Unknown: no single model was run beside routemoa to compare it with.", dense_ratios=dense
        )
    gap, times = lines[OURS].gap, found.ratios(OURS, against)
    who = "the best single model" if against == SINGLE else f"{against.removeprefix('single:')}, the best single model"
    free = lines[OURS].means["cost"] == 0 == lines[against].means["cost"]
    spent = {m: t for m, t in times.items() if m != "cost" or not free}
    if gap is None:
        said = f"Unknown: no question was graded for both routemoa and {who}{_price(spent, '; it took')}."
        return Headline("unknown", said, against, None, times, dense)
    size, between = (
        f"{100 * abs(gap.difference):.1f} points",
        f"95 % interval {format_points(gap.low)} to {format_points(gap.high)}",
    )
    shared = gap.n or len(found[OURS].keys() & found[against].keys())
    where = f"on {shared:,} question{'s' * (shared != 1)}"
    if gap.low > 0:
        said = f"Yes: {where} RouteMoA is right {size} more often than {who} ({between}){_price(spent, ', for')}."
        return Headline("better", said, against, gap, times, dense)
    if gap.high < 0:
        said = f"No: {where} RouteMoA is right {size} less often than {who} ({between}){_price(spent, ', for')}."
        return Headline("worse", said, against, gap, times, dense)
    said = (
        f"Not shown: {where} RouteMoA and {who} differ by {format_points(gap.difference)} points, and the {between} "
        f"includes zero{_price(spent, '; it took')}."
    )
    return Headline("open", said, against, gap, times, dense)


def _price(times: Mapping[str, float | None], lead: str) -> str:
    """What it took, as the end of a sentence."""
    tokens = "completion_tokens" if times.get("tokens") is None and times.get("completion_tokens") else "tokens"
    clock = "path_tokens" if times.get("seconds") is None and times.get("path_tokens") else "seconds"
    named = {m: MEASURES[m] for m in ("cost", tokens, clock) if m in times}
    known = [f"{times[m]:.2f} times its {name}" for m, name in named.items() if times[m] is not None]
    missing = [name for m, name in named.items() if times[m] is None]
    said = f"{lead} {_listed(known)}" if known else ""
    return f"{said}; {_listed(missing)} cannot be compared" if missing else said


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)


def _savings(outcomes: Sequence[Outcome], seed: int) -> tuple[Saving, ...]:
    found = compute_savings(outcomes, OURS, DENSE, seed)
    names = {"latency": "seconds"}
    return tuple(Saving(names.get(n, n), of["saved"], of["ci95"][0], of["ci95"][1]) for n, of in found.items())


def _ablations(found: Cases, lines: Mapping[str, Row], figures: Mapping[str, Any]) -> tuple[Ablation, ...]:
    return tuple(
        Ablation(
            part,
            says,
            lines.get(name),
            AccuracyGap.between(figures, name, OURS) if name in found and OURS in found else None,
            found.ratios(name, OURS) if name in found and OURS in found else dict.fromkeys(MEASURES),
        )
        for part, says in PARTS.items()
        for name in (f"{OURS}-no-{part}",)
    )


def _scale(run: Run) -> tuple[ScaleCurve, ...]:
    """Curves by the name of their records or pool; methods without such a name are of the run's own."""
    own = {method: points for method, points in run.scale.items() if isinstance(points, list)}
    pools = {run.name: own} | {name: of for name, of in run.scale.items() if isinstance(of, Mapping)}
    return tuple(
        ScaleCurve(pool, method, tuple(sorted((_point(p) for p in points), key=lambda p: p.models)))
        for pool, methods in pools.items()
        for method, points in methods.items()
        if points
    )


def _point(given: Mapping[str, Any]) -> ScalePoint:
    known = {k: v for k, v in given.items() if k in ScalePoint.__struct_fields__}
    low, high = known.pop("ci95", None) or (None, None)
    return ScalePoint(**known, ci95=None if low is None or high is None else (float(low), float(high)))
