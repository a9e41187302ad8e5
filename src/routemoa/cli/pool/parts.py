"""Describes what else a pool file names: the scorer, the judge model, the limits and the tenants. A line each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from routemoa.core.errors import ConfigError
from routemoa.core.pool_file.pool import Pool
from routemoa.core.text.plural import counted
from routemoa.core.types import Limits

__all__ = [
    "describe_judge",
    "describe_judge_plainly",
    "describe_limits",
    "describe_scorer",
    "describe_tenants",
    "judged_models",
    "known_models",
]

UNITS = {"max_cost": "${:g}", "max_seconds": "{:g} s", "max_calls": "{} calls", "max_output_tokens": "{} output tokens"}


def describe_scorer(pool: Pool) -> str:
    """Return which scorer the pool has, which models it knows, and what it does."""
    if pool.scorer is None:
        priors = sum(m.prior is not None for m in pool)
        return (
            f"scorer: none; each model has one chance of answering well for every query, its prior ({priors} of "
            f"{len(pool)} have one)"
        )
    known = known_models(pool)
    count = "cannot be read" if known is None else f"knows {len(known)} of {counted(len(pool), 'model')}"
    return f"scorer: {pool.scorer}, {count}: predicts from the query how likely each is to answer well"


def describe_judge(pool: Pool) -> str:
    """Return which judge model the pool has and what it does."""
    learned = _find_learned_judge(pool)
    if pool.judge is None and learned is None:
        return "judge: the default: weighs agreement and what models say of answers, knowing nothing of these models"
    files = " with ".join(str(file) for file in (pool.judge, learned) if file is not None)
    models = judged_models(pool)
    of = (
        "cannot be read"
        if models is None
        else f"of {counted(len(models), 'model')}"
        if models
        else "of no model by name"
    )
    weighs = "weighs agreement and what models say of answers, as learned"
    return f"judge: {files}, {of}: {'nothing is answered until it can be' if models is None else weighs}"


def describe_limits(limits: Limits) -> str:
    """Return the default limits of a request and what they do."""
    values = {name: getattr(limits, name) for name in UNITS}
    shown = [f"at most {UNITS[name].format(value)}" for name, value in values.items() if value is not None]
    if not shown:
        return "limits: none; a request may take what its own limits allow"
    return f"limits: {', '.join(shown)} a request, unless it sets its own: never passed, what does not fit is left out"


def describe_tenants(pool: Pool) -> str | None:
    """Return how many tenants the server has and what they do; None without any."""
    count = len(pool.tenants)
    return f"tenants: {count}: a request to the server needs the key of one, and its budget holds" if count else None


def known_models(pool: Pool) -> list[str] | None:
    """Return the models of the pool that its scorer knows; None where the scorer cannot be read."""
    from routemoa.mixture.pool_warnings import split_known
    from routemoa.scoring.trained import read_manifest  # brings numpy

    if pool.scorer is None:
        return None
    try:
        return [m.name for m in split_known(pool.models, read_manifest(pool.scorer)["models"])[0]]
    except ConfigError:
        return None


def judged_models(pool: Pool) -> list[str] | None:
    """Return the models that the pool's judge model describes; None where it is the default, or cannot be read."""
    from routemoa.judging.pool_judge import load_pool_judge
    from routemoa.mixture.pool_warnings import name_judged_models

    if pool.judge is None and pool.learned_judge is None:
        return None
    try:
        return name_judged_models(load_pool_judge(pool))
    except ConfigError:
        return None


def describe_judge_plainly(pool: Pool) -> dict[str, Any] | None:
    """Return the files of the pool's judge model and the models that it describes; None where it is the default."""
    learned = _find_learned_judge(pool)
    if pool.judge is None and learned is None:
        return None
    path, of = (None if file is None else str(file) for file in (pool.judge, learned))
    return {"path": path, "models": judged_models(pool), "learned": of}


def _find_learned_judge(pool: Pool) -> Path | None:
    """Return the file of the judge model that was learned and is in use; None where a file cannot be read."""
    from routemoa.judging.pool_judge import read_pool_judge

    try:
        return read_pool_judge(pool).learned
    except ConfigError:
        return None
