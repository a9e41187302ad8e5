"""Leaves the members out of a pool whose weights are not fetched."""

from __future__ import annotations

import dataclasses

from msgspec.structs import replace

from routemoa.clients.weights import load_manifest
from routemoa.core.pool_file.pool import Absence, Pool

__all__ = ["find_absent", "without_missing_weights"]


def without_missing_weights(pool: Pool) -> Pool:
    """Return the pool without the members whose weights are not fetched; the whole pool where none would be left."""
    absent = find_absent(pool)
    left = tuple(m for m in pool if m.name not in absent)
    if not absent or not left:
        return pool
    aggregator = "best" if pool.mixture.aggregator in absent else pool.mixture.aggregator
    mixture = replace(pool.mixture, aggregator=aggregator)
    return dataclasses.replace(pool, models=left, mixture=mixture, absent={**pool.absent, **absent})


def find_absent(pool: Pool) -> dict[str, Absence]:
    """Return why members cannot be asked whose weights are not fetched."""
    weights = {m.name: load_manifest().get(m.model) for m in pool if m.local}
    return {
        name: Absence("weights", f"{name}: its weights are not fetched:  routemoa pool fetch --only {weight.name}")
        for name, weight in weights.items()
        if weight is not None and not weight.is_fetched
    }
