"""Calls of the ledger added up: by model, day, key, purpose or method. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal, get_args

from msgspec import Struct

from routemoa.ledger.queries import LedgerEntry

__all__ = ["GROUPINGS", "Grouping", "CallSummary", "summarize_calls", "group_name", "group_calls", "sum_known", "total_tokens"]

Grouping = Literal["model", "day", "key", "purpose", "method"]
GROUPINGS: tuple[Grouping, ...] = get_args(Grouping)


class CallSummary(Struct, frozen=True):
    """Calls of one group together. A sum is of what is known, and None where nothing is; the counts say of how many.

    `failed` are those that ended in an error or with their process, `cut` those that we ended, `open` those under way.
    """

    group: str
    calls: int
    failed: int
    cut: int
    open: int
    prompt_tokens: int | None  # of the provider's own figures
    completion_tokens: int | None
    cached_tokens: int | None
    uncounted: int  # calls whose provider gave no tokens
    cost: float | None  # dollars
    unpriced: int  # calls whose dollars nobody knows
    charged: float | None  # dollars that are counted against budgets
    seconds: float | None  # the median call's


def group_name(call: LedgerEntry, by: Grouping) -> str:
    """The group that a call falls into; a day is UTC's."""
    if by == "day":
        return datetime.fromtimestamp(call.began, UTC).strftime("%Y-%m-%d")
    name: str = getattr(call, by)
    return name


def group_calls(calls: Iterable[LedgerEntry], by: Grouping) -> list[CallSummary]:
    """A sum for each group: days in their order, all else by what it cost."""
    groups: dict[str, list[LedgerEntry]] = {}
    for call in calls:
        groups.setdefault(group_name(call, by), []).append(call)
    sums = [summarize_calls(name, members) for name, members in groups.items()]
    if by == "day":
        return sorted(sums, key=lambda s: s.group)
    return sorted(sums, key=lambda s: (-(s.charged or 0.0), -(s.cost or 0.0), -(total_tokens(s) or 0), s.group))


def summarize_calls(name: str, calls: Sequence[LedgerEntry]) -> CallSummary:
    """These calls together."""
    outcomes = [c.outcome for c in calls]
    seconds = [c.seconds for c in calls if c.seconds is not None]
    ended = [c for c in calls if c.outcome != "open"]
    return CallSummary(
        name,
        len(calls),
        sum(o not in ("ok", "cut", "open") for o in outcomes),
        outcomes.count("cut"),
        outcomes.count("open"),
        _sum_counts(c.prompt_tokens for c in calls),
        _sum_counts(c.completion_tokens for c in calls),
        _sum_counts(c.cached_tokens for c in calls),
        sum(c.prompt_tokens is None or c.completion_tokens is None for c in ended),
        sum_known(c.cost for c in calls),
        sum(c.cost is None for c in ended),
        sum_known(c.charged for c in calls),
        statistics.median(seconds) if seconds else None,
    )


def total_tokens(of: CallSummary | LedgerEntry) -> int | None:
    """Read and written together, as far as they are known."""
    return _sum_counts((of.prompt_tokens, of.completion_tokens))


def sum_known(values: Iterable[float | None]) -> float | None:
    """The sum of those that are known; None where none is."""
    found = [v for v in values if v is not None]
    return math.fsum(found) if found else None


def _sum_counts(values: Iterable[int | None]) -> int | None:
    found = [v for v in values if v is not None]
    return sum(found) if found else None
