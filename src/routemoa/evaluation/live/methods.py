"""The methods of a live run: those of `routemoa.mixture.method_registry`, and variants of RouteMoA.

`routemoa-no-...` lacks one of its parts; `routemoa-alone`, `-synthesize` and `-select` are under that `[mixture] open`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

import msgspec

from routemoa.core.pool_file.pool import Pool
from routemoa.core.protocols import Client, Method
from routemoa.core.types import Query, Scores
from routemoa.datasets.questions import Question
from routemoa.evaluation.ablations import ABLATIONS, ablate
from routemoa.mixture.engine import RouteMoA
from routemoa.mixture.method_registry import build_method, method_names
from routemoa.scoring.constant import load_scorer

__all__ = ["OPEN_POLICIES", "PREFIX", "build_live_methods", "live_method_names"]

PREFIX = "routemoa-"
OpenPolicyName = Literal["alone", "synthesize", "select"]
OPEN_POLICIES: tuple[OpenPolicyName, ...] = ("alone", "synthesize", "select")
"""Values of `[mixture] open`."""


def live_method_names(pool: Pool) -> tuple[str, ...]:
    """Return the names of all methods that can run on this pool."""
    variants = ABLATIONS if pool.mixture.published else (*ABLATIONS, *OPEN_POLICIES)
    return (*method_names(pool), *(PREFIX + name for name in variants))


async def build_live_methods(
    names: Iterable[str], pool: Pool, client: Client, questions: Sequence[Question]
) -> dict[str, Method]:
    """Return {name: method}.

    Raises:
        ConfigError: a name is unknown, or the pool's scorer cannot be read.
    """
    methods: dict[str, Method] = {}
    for name in names:
        part = name.removeprefix(PREFIX)
        if name != part and part in OPEN_POLICIES:
            mixture = RouteMoA(set_open_policy(pool, part), client)
            mixture.name, methods[name] = name, mixture
            continue
        if part not in ABLATIONS:
            methods[name] = build_method(pool, name, client)
            continue
        mixture = RouteMoA(pool, client)
        means = await _mean_scores(pool, questions) if part == "no-scorer" else None
        mixture.policy, mixture.name = ablate(part, mixture.policy, means), name
        methods[name] = mixture
    return methods


def set_open_policy(pool: Pool, policy: OpenPolicyName) -> Pool:
    """Return the pool with another `[mixture] open`."""
    return replace(pool, mixture=msgspec.structs.replace(pool.mixture, open=policy))


async def _mean_scores(pool: Pool, questions: Sequence[Question]) -> Scores:
    """Return each model's mean score by the scorer over all questions."""
    scorer = load_scorer(pool)
    rows = [await scorer.score(Query.from_text(q.text), pool.models) for q in questions]
    known = {m.name: [s for row in rows if (s := row.get(m.name)) is not None] for m in pool}
    return {name: sum(s) / len(s) if s else None for name, s in known.items()}
