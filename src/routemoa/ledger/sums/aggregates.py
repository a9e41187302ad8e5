"""Summarize the ledger's calls by model, day, key, purpose or method. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal, get_args

from msgspec import Struct

from routemoa.ledger.sums.queries import LedgerEntry

__all__ = [
    "GROUPINGS",
    "CallSummary",
    "Grouping",
    "group_calls",
    "group_name",
    "summarize_calls",
    "total_tokens",
]

Grouping = Literal["model", "day", "key", "purpose", "method"]
GROUPINGS: tuple[Grouping, ...] = get_args(Grouping)


class CallSummary(Struct, frozen=True):
    """The calls of one group. A sum is over what is known, and None where nothing is.

    The field names are the columns of `routemoa ledger --by ... --csv` and the keys of `--json`.
    """

    group: str
    calls: int
    failed: int
    """Calls that ended in an error, or with their process."""
    cut: int
    """Calls that we cancelled."""
    open: int
    """Calls under way."""
    prompt_tokens: int | None
    """By the providers' own count."""
    completion_tokens: int | None
    cached_tokens: int | None
    uncounted: int
    """Ended calls whose provider gave no token counts."""
    cost: float | None
    """Dollars."""
    unpriced: int
    """Ended calls whose cost is unknown."""
    charged: float | None
    """Dollars counted against budgets."""
    seconds: float | None
    """Of the median call."""


def group_name(call: LedgerEntry, by: Grouping) -> str:
    """Return the group that a call belongs to; days are in UTC."""
    if by == "day":
        return datetime.fromtimestamp(call.began, UTC).strftime("%Y-%m-%d")
    name: str = getattr(call, by)
    return name


def group_calls(calls: Iterable[LedgerEntry], by: Grouping) -> list[CallSummary]:
    """Summarize each group: days in order of time, other groups from the most expensive down."""
    groups: dict[str, list[LedgerEntry]] = {}
    for call in calls:
        groups.setdefault(group_name(call, by), []).append(call)
    summaries = [summarize_calls(name, members) for name, members in groups.items()]
    if by == "day":
        return sorted(summaries, key=lambda s: s.group)
    return sorted(summaries, key=lambda s: (-(s.charged or 0.0), -(s.cost or 0.0), -(total_tokens(s) or 0), s.group))


def summarize_calls(name: str, calls: Sequence[LedgerEntry]) -> CallSummary:
    """Summarize calls as one group of this name."""
    outcomes = [c.outcome for c in calls]
    seconds = [c.seconds for c in calls if c.seconds is not None]
    ended = [c for c in calls if c.outcome != "open"]
    return CallSummary(
        group=name,
        calls=len(calls),
        failed=sum(o not in ("ok", "cut", "open") for o in outcomes),
        cut=outcomes.count("cut"),
        open=outcomes.count("open"),
        prompt_tokens=_sum_counts(c.prompt_tokens for c in calls),
        completion_tokens=_sum_counts(c.completion_tokens for c in calls),
        cached_tokens=_sum_counts(c.cached_tokens for c in calls),
        uncounted=sum(c.prompt_tokens is None or c.completion_tokens is None for c in ended),
        cost=_sum_known(c.cost for c in calls),
        unpriced=sum(c.cost is None for c in ended),
        charged=_sum_known(c.charged for c in calls),
        seconds=statistics.median(seconds) if seconds else None,
    )


def total_tokens(of: CallSummary | LedgerEntry) -> int | None:
    """Return the tokens of prompts and completions together, as far as they are known."""
    return _sum_counts((of.prompt_tokens, of.completion_tokens))


def _sum_known(values: Iterable[float | None]) -> float | None:
    """Return the sum of the known values; None where none is."""
    known = [v for v in values if v is not None]
    return math.fsum(known) if known else None


def _sum_counts(values: Iterable[int | None]) -> int | None:
    known = [v for v in values if v is not None]
    return sum(known) if known else None
