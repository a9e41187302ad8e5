"""Calls of the ledger added up: by model, day, key, purpose or method. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal, get_args

from msgspec import Struct

from routemoa.ledger.queries import LedgerEntry

__all__ = ["BY", "By", "CallSummary", "added", "group_of", "grouped", "known", "tokens"]

By = Literal["model", "day", "key", "purpose", "method"]
BY: tuple[By, ...] = get_args(By)


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


def group_of(call: LedgerEntry, by: By) -> str:
    """The group that a call falls into; a day is UTC's."""
    if by == "day":
        return datetime.fromtimestamp(call.began, UTC).strftime("%Y-%m-%d")
    name: str = getattr(call, by)
    return name


def grouped(calls: Iterable[LedgerEntry], by: By) -> list[CallSummary]:
    """A sum for each group: days in their order, all else by what it cost."""
    groups: dict[str, list[LedgerEntry]] = {}
    for call in calls:
        groups.setdefault(group_of(call, by), []).append(call)
    sums = [added(name, members) for name, members in groups.items()]
    if by == "day":
        return sorted(sums, key=lambda s: s.group)
    return sorted(sums, key=lambda s: (-(s.charged or 0.0), -(s.cost or 0.0), -(tokens(s) or 0), s.group))


def added(name: str, calls: Sequence[LedgerEntry]) -> CallSummary:
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
        _count(c.prompt_tokens for c in calls),
        _count(c.completion_tokens for c in calls),
        _count(c.cached_tokens for c in calls),
        sum(c.prompt_tokens is None or c.completion_tokens is None for c in ended),
        known(c.cost for c in calls),
        sum(c.cost is None for c in ended),
        known(c.charged for c in calls),
        statistics.median(seconds) if seconds else None,
    )


def tokens(of: CallSummary | LedgerEntry) -> int | None:
    """Read and written together, as far as they are known."""
    return _count((of.prompt_tokens, of.completion_tokens))


def known(values: Iterable[float | None]) -> float | None:
    """The sum of those that are known; None where none is."""
    found = [v for v in values if v is not None]
    return math.fsum(found) if found else None


def _count(values: Iterable[int | None]) -> int | None:
    found = [v for v in values if v is not None]
    return sum(found) if found else None
