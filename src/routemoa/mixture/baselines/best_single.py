"""The best single model of a pool, chosen on records before any query; also the baselines' aggregator and moderator."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from msgspec import Struct

from routemoa.core.pool_file.pool import Pool
from routemoa.core.protocols import Client
from routemoa.core.types import ModelSpec
from routemoa.mixture.baselines.single import Single

__all__ = ["BestModel", "aggregator_candidates", "best_single", "choose_best_model"]


class BestModel(Struct, frozen=True):
    """A model, and why it is considered the best."""

    spec: ModelSpec
    why: str


def choose_best_model(pool: Pool) -> BestModel:
    """Return the model that did best on the trained scorer's records, else the one with the highest `prior`.

    A model without a prior is chosen only where none has one: then the first of the pool.

    Raises:
        ConfigError: the scorer's folder cannot be read.
    """
    chosen = _on_records(pool)
    for m in sorted(pool, key=lambda m: m.name != chosen):  # by name before by the endpoint's name, as scores are
        if chosen is not None and chosen in (m.name, m.model):
            return BestModel(m, "best on the scorer's training records")
    note = "" if chosen is None else f" (the scorer's best, {chosen}, is not in the pool)"
    known = [(m.prior, m) for m in pool if m.prior is not None]
    if not known:
        return BestModel(pool.models[0], f"no model has a prior, so the first of the pool{note}")
    prior, spec = max(known, key=lambda k: k[0])
    return BestModel(spec, f"the highest prior, {prior:g}{note}")


def best_single(pool: Pool, client: Client) -> Single:
    """Return the best model alone as a method: what any mixture has to beat. Raises ConfigError."""
    chosen = choose_best_model(pool)
    return Single(chosen.spec, client, "best-single", f"{chosen.spec.name} alone: {chosen.why}", pool.limits)


def aggregator_candidates(pool: Pool, first: ModelSpec, without: Collection[str] = ()) -> list[ModelSpec]:
    """Return the models that may aggregate: the pool file's aggregator, else `first`, then the others by prior."""
    named = [pool[pool.mixture.aggregator]] if pool.mixture.aggregator in pool else []
    others = sorted(pool, key=lambda m: (m.prior is None, -(m.prior or 0.0)))
    order = {m.name: m for m in (*named, first, *others)}
    return [m for name, m in order.items() if name not in without]


def _on_records(pool: Pool) -> str | None:
    """Return the scorer's name for the model that was right most often on its training records."""
    if pool.scorer is None:
        return None
    from routemoa.scoring.trained import read_manifest  # brings numpy

    chosen: Any = read_manifest(pool.scorer).get("chosen")
    name = chosen.get("best_single") if isinstance(chosen, dict) else None
    return name if isinstance(name, str) else None
