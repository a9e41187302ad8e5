"""Sums the ledger's calls by day, key, method, model and purpose, in the store itself: however many there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime

from msgspec import Struct
from msgspec.structs import replace

from routemoa.ledger.connections import Connection, open_reading
from routemoa.ledger.location import StoreLocation
from routemoa.ledger.schema import raise_file_errors
from routemoa.ledger.sums.aggregates import Grouping

__all__ = ["CallSums", "add_sums", "group_sums", "read_call_sums"]

SECONDS_PER_DAY = 86_400
GROUPED = "key, method, model, purpose"
SUMS = """
  count(*),
  CAST(sum(CASE WHEN outcome IN ('ok', 'cut', 'open') THEN 0 ELSE 1 END) AS BIGINT),
  CAST(sum(CASE WHEN outcome = 'cut' THEN 1 ELSE 0 END) AS BIGINT),
  CAST(sum(CASE WHEN outcome = 'open' THEN 1 ELSE 0 END) AS BIGINT),
  CAST(sum(prompt_tokens) AS BIGINT),
  CAST(sum(completion_tokens) AS BIGINT),
  CAST(sum(cached_tokens) AS BIGINT),
  CAST(sum(CASE WHEN outcome <> 'open' AND cost IS NULL THEN 1 ELSE 0 END) AS BIGINT),
  sum(cost),
  sum(charged),
  sum(seconds),
  CAST(sum(CASE WHEN seconds IS NULL THEN 0 ELSE 1 END) AS BIGINT)
"""


class CallSums(Struct, frozen=True):
    """Calls together. A sum is over what is known, and None where nothing is."""

    day: str
    """In UTC, such as "2026-11-26"."""
    key: str
    method: str
    model: str
    purpose: str
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
    unpriced: int
    """Ended calls whose cost is unknown."""
    cost: float | None
    """Dollars."""
    charged: float | None
    """Dollars counted against budgets."""
    seconds: float | None
    """Of all calls together."""
    timed: int
    """Calls whose seconds are known."""


def read_call_sums(path: StoreLocation, since: float, until: float, key: str | None = None) -> list[CallSums]:
    """Return the sums of the calls that began in [since, until), as they were corrected; blocks.

    Args:
        path: of a ledger that is open for writing; one that does not exist holds no calls.
        since: seconds since the epoch.
        until: seconds since the epoch.
        key: only the calls of this tenant.

    Raises:
        StoreError: the store cannot be read.
    """
    connection = open_reading(path)
    if connection is None:
        return []
    with closing(connection), raise_file_errors(path):
        return [row for begin, end in _split_days(since, until) for row in _read_day(connection, begin, end, key)]


def add_sums(sums: Sequence[CallSums]) -> CallSums:
    """Return the sum of at least one; days and names are those of the first."""
    return replace(
        sums[0],
        **{name: sum(getattr(s, name) for s in sums) for name in ("calls", "failed", "cut", "open", "unpriced")},
        **{name: _sum_known(getattr(s, name) for s in sums) for name in ("prompt_tokens", "completion_tokens")},
        **{name: _sum_known(getattr(s, name) for s in sums) for name in ("cached_tokens", "cost", "charged")},
        seconds=_sum_known(s.seconds for s in sums),
        timed=sum(s.timed for s in sums),
    )


def group_sums(sums: Iterable[CallSums], by: Grouping) -> dict[str, CallSums]:
    """Return the sum of each group: days in order of time, other groups from the most expensive down."""
    groups: dict[str, list[CallSums]] = {}
    for each in sums:
        groups.setdefault(getattr(each, by), []).append(each)
    added = {name: add_sums(members) for name, members in groups.items()}
    rank: Callable[[str], tuple[float, str]] = lambda name: (-(added[name].charged or 0.0), name)  # noqa: E731
    return {name: added[name] for name in sorted(added, key=None if by == "day" else rank)}


def _split_days(since: float, until: float) -> Iterator[tuple[float, float]]:
    """Yield the parts of a time that lie in one UTC day each."""
    begin = since
    while begin < until:
        end = min(until, (begin // SECONDS_PER_DAY + 1) * SECONDS_PER_DAY)
        yield begin, end
        begin = end


def _read_day(connection: Connection, begin: float, end: float, key: str | None) -> list[CallSums]:
    chosen, values = ("", ()) if key is None else (" AND key = ?", (key,))
    query = f"SELECT {GROUPED}, {SUMS} FROM corrected_calls WHERE began >= ? AND began < ?{chosen} GROUP BY {GROUPED}"  # noqa: S608
    day = datetime.fromtimestamp(begin, UTC).strftime("%Y-%m-%d")
    return [CallSums(day, *row) for row in connection.execute(query, (begin, end, *values))]


def _sum_known(values: Iterable[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) if known else None
