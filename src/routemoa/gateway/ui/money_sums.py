"""What the page Money shows: sums of the ledger, what the mixture saved by estimates, caches, budgets. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from routemoa.core.types import ModelSpec
from routemoa.gateway.traces.trace_facts import TraceFacts
from routemoa.ledger import BudgetState
from routemoa.ledger.sums.aggregates import GROUPINGS, Grouping
from routemoa.ledger.sums.call_sums import CallSums, add_sums, group_sums

__all__ = ["Saving", "describe_cache", "describe_sums", "estimate_saving", "forecast_budget", "rows_of"]

COLUMNS = (
    *("calls", "failed", "cut", "open", "prompt_tokens", "completion_tokens", "cached_tokens"),
    *("cost", "unpriced", "charged"),
)
MIN_ELAPSED = 0.02
"""Of a day or month: before, what was spent so far tells nothing of its end."""


class Saving(Struct, frozen=True):
    """What answers did cost, and what another way would have, by an estimate."""

    answers: int
    """Answers of which both are known."""
    cost: float
    """Dollars that they did cost."""
    estimate: float
    """Dollars that the other way would have cost."""


def describe_sums(sums: Sequence[CallSums]) -> dict[str, Any]:
    """Return the rows of each grouping, their total, and the dollars of each day by model."""
    return {
        "groups": {by: rows_of(sums, by) for by in GROUPINGS},
        "total": _to_row("total", add_sums(sums)) if sums else None,
        "days": [
            {"day": day, "model": model, "cost": each.charged}
            for day, of_day in _split(sums, lambda s: s.day)
            for model, each in group_sums(of_day, "model").items()
        ],
    }


def rows_of(sums: Iterable[CallSums], by: Grouping) -> list[dict[str, Any]]:
    """Return a row for each group; the keys are the columns of the CSV."""
    return [_to_row(name, each) for name, each in group_sums(sums, by).items()]


def estimate_saving(facts: Iterable[TraceFacts], of: Callable[[TraceFacts], float | None]) -> Saving:
    """Compare what answers did cost with an estimate, over those for which both are known."""
    pairs = [(f.cost, other) for f in facts if f.cost is not None and (other := of(f)) is not None]
    return Saving(len(pairs), math.fsum(cost for cost, _ in pairs), math.fsum(other for _, other in pairs))


def describe_cache(sums: Sequence[CallSums], members: Iterable[ModelSpec]) -> dict[str, Any]:
    """Return the share of the prompts' tokens that providers read from their caches, and the dollars that saved.

    Dollars are an estimate by today's prices, and None where no member with cache hits has a price for cached tokens.
    Tokens are None where no provider has reported any.
    """
    by_model = group_sums(sums, "model")
    prices = {m.name: m.price for m in members}
    saved = []
    for name, each in by_model.items():
        price = prices.get(name)
        if each.cached_tokens and price is not None and price.cached is not None:
            saved.append(each.cached_tokens * max(0.0, price.input.base - price.cached.base) / 1e6)
    total = add_sums(sums) if sums else None
    return {
        "prompt_tokens": None if total is None else total.prompt_tokens,
        "cached_tokens": None if total is None else total.cached_tokens,
        "saved": math.fsum(saved) if saved else None,
    }


def forecast_budget(budget: BudgetState, now: float) -> dict[str, Any]:
    """Return a budget with what will be used at its end, if spending goes on as it did since its beginning.

    `forecast` is None while too little of the day or month is over; `spent_by` is when the budget is used up (seconds
    since the epoch), None where it lasts.
    """
    elapsed = (now - budget.start) / (budget.reset - budget.start)
    forecast = budget.used / elapsed if elapsed >= MIN_ELAPSED else None
    lasts = forecast is None or forecast <= budget.limit
    spent_by = None if lasts else budget.start + (budget.limit / budget.used) * (now - budget.start)
    return {**msgspec.to_builtins(budget), "forecast": forecast, "spent_by": spent_by}


def _to_row(name: str, each: CallSums) -> dict[str, Any]:
    mean = each.seconds / each.timed if each.seconds is not None and each.timed else None
    return {"group": name, **{column: getattr(each, column) for column in COLUMNS}, "mean_seconds": mean}


def _split(sums: Iterable[CallSums], name: Callable[[CallSums], str]) -> list[tuple[str, list[CallSums]]]:
    groups: dict[str, list[CallSums]] = {}
    for each in sums:
        groups.setdefault(name(each), []).append(each)
    return sorted(groups.items())
