"""Performance, then cost, then latency: who goes before whom, and the published selection and stop. Pure functions.

Source: RouteMoA (arXiv 2601.18130), model ranking and early stop; the thresholds are the pool file's. The utility with
explicit rates is ours: a probability less what the call costs, in the user's own exchange.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

from routemoa.core.trace import Layer, RankedModel, Ranking
from routemoa.core.types import ModelSpec
from routemoa.judging.answers.grouping import all_agree

__all__ = ["call_penalty", "published_stop", "rank_models", "select_models"]

POINT = 0.01  # of probability


def call_penalty(
    dollars: float | None, seconds: float | None, dollars_per_point: float | None, seconds_per_point: float | None
) -> float:
    """What a call is worth in probability at the user's rates; what is unknown, or has no rate, weighs nothing."""
    paid = dollars / dollars_per_point if dollars is not None and dollars_per_point else 0.0
    waited = seconds / seconds_per_point if seconds is not None and seconds_per_point else 0.0
    return POINT * (paid + waited)


def rank_models(
    models: Iterable[ModelSpec],
    scores: Mapping[str, float | None],
    latency: Mapping[str, float] | None = None,
    failed: Collection[str] = (),
    *,
    tie: float = 0.0,
    unscored_models: Collection[str] = (),
    penalties: Mapping[str, float] | None = None,
    faster_first: bool = False,
    before: Sequence[str] = (),
) -> Ranking:
    """Order models by performance, then lower output price, lower input price, lower latency, then the pool's order.

    Performances that lie within `tie` of the best of those not yet ranked are equal (and to nine decimals, so that
    rounding noise does not outweigh a price); so are latencies of the same tenth of a second. An unknown price or
    latency comes last among equals. A model without a score is ranked at the mean of the others (0.5 if there is
    none), and its `why` says so. `latency` holds measured seconds, which go before the pool file's. Models that
    `failed` in this query come last; `strangers`, whose score is only the pool file's prior, are marked so.

    Args:
        tolls: what a call of each model costs in probability (`toll`); it is taken off the performance in the order.
        faster_first: latency goes before the prices.
        before: an earlier order; equals keep it (hysteresis), so that noise displaces nobody.
    """
    specs = list(models)
    known = [s for m in specs if (s := scores.get(m.name)) is not None]
    substitute = sum(known) / len(known) if known else 0.5
    seconds = {m.name: (latency or {}).get(m.name, m.latency) for m in specs}
    place = {name: i for i, name in enumerate(before)}

    def performance(m: ModelSpec) -> float:
        score = scores.get(m.name)
        return substitute if score is None else score

    level = _levels({m.name: performance(m) - (penalties or {}).get(m.name, 0.0) for m in specs}, tie)

    def key(m: ModelSpec) -> tuple[float, ...]:
        waiting = seconds[m.name]
        prices = (m.output_price, m.input_price, None if waiting is None else round(waiting, 1))
        order = (prices[2], *prices[:2]) if faster_first else prices
        return (
            m.name in failed,
            -level[m.name],
            place.get(m.name, len(place)),
            *map(_last, order),
        )

    what = ("latency", "output price", "input price") if faster_first else ("output price", "input price", "latency")
    keys = {m.name: key(m) for m in specs}
    ordered = sorted(specs, key=lambda m: keys[m.name])
    tops = [keys[m.name][1:] for m in ordered]
    ranking: list[RankedModel] = []
    for i, m in enumerate(ordered):
        why = _why(tops[i], tops[i - 1], ordered[i - 1].name, tops[0][0], what) if i else "best"
        if m.name in failed:
            why = "failed in this query"
        elif scores.get(m.name) is None:
            why += "; not scored: ranked at the mean of the others" if known else "; no model is scored: ranked at 0.5"
        elif m.name in unscored_models:
            why += "; unknown to the scorer: the pool file's prior"
        ranking.append(RankedModel(m.name, performance(m), m.output_price, seconds[m.name], why))
    return tuple(ranking)


def _levels(performances: Mapping[str, float], tie: float) -> dict[str, float]:
    """The performance that each model's counts as: that of the best one within `tie` above it."""
    out: dict[str, float] = {}
    top = math.inf
    for name, value in sorted(performances.items(), key=lambda item: -item[1]):
        if round(top - value, 9) > tie:
            top = round(value, 9)
        out[name] = top
    return out


def _last(value: float | None) -> float:
    return math.inf if value is None else value


def _why(mine: tuple[float, ...], above: tuple[float, ...], name: str, best: float, names: tuple[str, ...]) -> str:
    """Why a model ranks behind the one above it: both without what tells that they failed."""
    if mine[0] != above[0]:
        return f"{mine[0] - best:.3f} behind the best"
    if mine[1] != above[1]:
        return f"within the noise of {name}, which was ahead"
    for what, a, b in zip(names, mine[2:], above[2:], strict=True):
        if a != b:
            return f"as good as {name}, {what} {'unknown' if a == math.inf else 'higher'}"
    return f"equal to {name}, later in the pool file"


def select_models(ranking: Ranking, top_k: int, margin: float, excluded: Collection[str] = ()) -> tuple[str, ...]:
    """The first `top_k` models within `margin` of the best one left, never one of `without` (models that failed)."""
    left = [r for r in ranking if r.model not in excluded]
    return tuple(r.model for r in left[:top_k] if left[0].performance - r.performance <= margin + 1e-12)


def published_stop(
    layers: Sequence[Layer],
    scores: Mapping[str, float | None],
    upcoming: Sequence[str],
    *,
    threshold: float,
    max_layers: int,
) -> str | None:
    """Why no further layer should run after the last of `layers`, or None to go on.

    Only a model that has answered can make us sure: a high prior is no answer.
    """
    last = layers[-1]
    answered = {p.model for layer in layers for p in layer.proposals}
    best = max(((s, m) for m in answered if (s := scores.get(m)) is not None), default=None)
    proposers = [p.model for p in last.proposals]
    if best and best[0] > threshold:
        return f"sure: {best[1]} at {best[0]:.3f} is above {threshold:g}"
    if all_agree([p.text for p in last.proposals]):
        return f"agreed: {', '.join(proposers)} gave the same answer"
    if len(layers) >= max_layers:
        return f"last layer: {max_layers} of {max_layers}"
    if not upcoming:
        return "no model left to call"
    if not proposers:
        return "no new answer: every model of the layer failed"
    if list(upcoming) == proposers and len(proposers) == 1:
        return f"no further evidence expected: only {proposers[0]} is worth calling, and it has answered"
    return None
