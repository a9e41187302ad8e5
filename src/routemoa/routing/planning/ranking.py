"""Rank models by performance, then cost, then latency, and select the best few as published. Pure functions.

Source: RouteMoA (arXiv 2601.18130), model ranking; the thresholds are the pool file's. Call penalties are ours: what a
call costs, in probability, at the user's own rates.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct

from routemoa.core.tables.candidates import plain_name
from routemoa.core.trace import RankedModel, Ranking
from routemoa.core.types import ModelSpec
from routemoa.judging.published_fusion import impute_missing

__all__ = ["RankingOptions", "call_penalty", "rank_models", "select_models"]

POINT = 0.01
"""A percentage point of probability, which the user's rates are about."""
CRITERIA = ("output price", "input price", "latency")
LATENCY_FIRST_CRITERIA = ("latency", "output price", "input price")


class RankingOptions(Struct, frozen=True):
    """What shapes a ranking besides the scores."""

    latency: Mapping[str, float] = {}
    """Measured seconds of a call; they replace the pool file's."""
    failed: Collection[str] = ()
    """Models that failed in this query; they come last."""
    skipped: Collection[str] = ()
    """Those of them that were not called at all; the ranking says so."""
    tie: float = 0.0
    """Performances within this of the best one not yet ranked are equal."""
    unscored_models: Collection[str] = ()
    """Models whose score is only the pool file's prior; the ranking says so."""
    penalties: Mapping[str, float] = {}
    """What a call costs in probability (`call_penalty`); it lowers a model's place, not the performance shown."""
    latency_first: bool = False
    """Whether latency goes before the prices among equals."""
    previous_order: Sequence[str] = ()
    """An earlier ranking, which equals keep, so that noise displaces no model (hysteresis)."""


DEFAULT_OPTIONS = RankingOptions()


class _SortKey(Struct, frozen=True, order=True):
    """What decides a model's place, the lower the better, field by field."""

    failed: bool
    negative_level: float
    """The performance that the model's counts as, less its penalty, with the sign changed."""
    vote: int
    """Of its member: the first one answers the question as it was asked, the others only vote."""
    previous_place: int
    criteria: tuple[float, ...]
    """Prices and latency, in the order they are compared; infinite where unknown."""


def call_penalty(
    dollars: float | None, seconds: float | None, dollars_per_point: float | None, seconds_per_point: float | None
) -> float:
    """Return what a call costs in probability at the user's rates; what is unknown, or has no rate, counts as 0."""
    cost_points = dollars / dollars_per_point if dollars is not None and dollars_per_point else 0.0
    latency_points = seconds / seconds_per_point if seconds is not None and seconds_per_point else 0.0
    return POINT * (cost_points + latency_points)


def rank_models(
    models: Iterable[ModelSpec], scores: Mapping[str, float | None], options: RankingOptions = DEFAULT_OPTIONS
) -> Ranking:
    """Order models by performance, then the criteria, then the pool's order.

    A model without a score is ranked at the mean of the others (0.5 if there is none), and its `why` says so. An
    unknown price or latency comes last among equals; latencies of the same tenth of a second are equal.
    """
    specs = list(models)
    performance = impute_missing(scores, [m.name for m in specs])
    latency = {m.name: options.latency.get(m.name, m.latency) for m in specs}
    keys = _sort_keys(specs, performance, latency, options)
    ordered = sorted(specs, key=lambda m: keys[m.name])
    places = [keys[m.name] for m in ordered]
    any_scored = any(scores.get(m.name) is not None for m in specs)
    ranking: list[RankedModel] = []
    for i, m in enumerate(ordered):
        if m.name in options.failed:
            why = "skipped in this query" if m.name in options.skipped else "failed in this query"
        else:
            why = _explain_place(places[i], places[i - 1], ordered[i - 1].name, places[0], options) if i else "best"
            why += _score_note(m.name, scores, any_scored, options)
        ranking.append(RankedModel(m.name, performance[m.name], m.output_price, latency[m.name], why))
    return tuple(ranking)


def _sort_keys(
    specs: Sequence[ModelSpec],
    performance: Mapping[str, float],
    latency: Mapping[str, float | None],
    options: RankingOptions,
) -> dict[str, _SortKey]:
    net = {name: value - options.penalties.get(name, 0.0) for name, value in performance.items()}
    level = _tie_levels(net, options.tie)
    if not options.previous_order:  # none has answered: a vote alone answers nobody
        level |= {m.name: min(level[m.name], level.get(plain_name(m), math.inf)) for m in specs if m.vote > 1}
    previous_place = {name: i for i, name in enumerate(options.previous_order)}
    keys: dict[str, _SortKey] = {}
    for m in specs:
        seconds = latency[m.name]
        prices = (_or_infinite(m.output_price), _or_infinite(m.input_price))
        tenths = _or_infinite(None if seconds is None else round(seconds, 1))
        keys[m.name] = _SortKey(
            m.name in options.failed,
            -level[m.name],
            m.vote,
            previous_place.get(m.name, len(previous_place)),
            (tenths, *prices) if options.latency_first else (*prices, tenths),
        )
    return keys


def _tie_levels(performance: Mapping[str, float], tie: float) -> dict[str, float]:
    """Return the performance that each model's counts as: that of the best one within `tie` above it.

    Performances are compared to nine decimals, so that rounding noise does not outweigh a price.
    """
    levels: dict[str, float] = {}
    top = math.inf
    for name, value in sorted(performance.items(), key=lambda item: -item[1]):
        if round(top - value, 9) > tie:
            top = round(value, 9)
        levels[name] = top
    return levels


def _or_infinite(value: float | None) -> float:
    return math.inf if value is None else value


def _explain_place(key: _SortKey, above: _SortKey, above_name: str, best: _SortKey, options: RankingOptions) -> str:
    """Return why a model ranks behind the one above it."""
    if key.negative_level != above.negative_level:
        return f"{key.negative_level - best.negative_level:.3f} behind the best"
    if key.vote != above.vote:
        return f"as good as {above_name}, asked once more"
    if key.previous_place != above.previous_place:
        return f"within the noise of {above_name}, which was ahead"
    criteria = LATENCY_FIRST_CRITERIA if options.latency_first else CRITERIA
    for criterion, value, value_above in zip(criteria, key.criteria, above.criteria, strict=True):
        if value != value_above:
            return f"as good as {above_name}, {criterion} {'unknown' if value == math.inf else 'higher'}"
    return f"equal to {above_name}, later in the pool file"


def _score_note(name: str, scores: Mapping[str, float | None], any_scored: bool, options: RankingOptions) -> str:
    """Return what to add to the explanation of a model that the scorer did not score."""
    if scores.get(name) is None:
        return "; not scored: ranked at the mean of the others" if any_scored else "; no model is scored: ranked at 0.5"
    if name in options.unscored_models:
        return "; unknown to the scorer: the pool file's prior"
    return ""


def select_models(ranking: Ranking, top_k: int, margin: float, excluded: Collection[str] = ()) -> tuple[str, ...]:
    """Return the first `top_k` models within `margin` of the best one that is not `excluded`."""
    left = [r for r in ranking if r.model not in excluded]
    return tuple(r.model for r in left[:top_k] if left[0].performance - r.performance <= margin + 1e-12)
