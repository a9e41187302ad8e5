"""Counts which members were chosen on which day, from the columns of the traces alone: nothing is unpacked."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from msgspec import Struct

from routemoa.ledger.location import StoreLocation
from routemoa.ledger.schema import raise_file_errors
from routemoa.ledger.trace_store.trace_tables import open_traces_reading

__all__ = ["DAY", "ChoiceCount", "count_choices"]

DAY = 86_400
"""Seconds."""
QUERY = "SELECT at, method, choice, calls, cost, id IN (SELECT id FROM feedback) FROM traces WHERE at >= ?"


class ChoiceCount(Struct):
    """The answers of one day that one method took from one member."""

    day: int
    """Seconds since the epoch at which the UTC day began."""
    method: str
    choice: str | None
    answers: int = 0
    calls: int = 0
    cost: float | None = None
    """Dollars of those whose cost is known; None where it is of none."""
    priced: int = 0
    """Answers whose cost is known."""
    judged: int = 0
    """Answers of which something was said."""


def count_choices(
    path: StoreLocation, tenant: str | None, since: float, *, everyone: bool = False
) -> list[ChoiceCount]:
    """Return the counts of each day, the oldest first; blocks.

    Args:
        path: where the traces are (`traces_path`).
        tenant: whose; None are those without a key.
        since: seconds since the epoch.
        everyone: those of all tenants.

    Raises:
        StoreError: the store cannot be read.
    """
    if isinstance(path, Path) and not path.exists():
        return []
    query, values = QUERY, list[object]([since])
    if not everyone:
        query += " AND tenant IS NULL" if tenant is None else " AND tenant = ?"
        values += [] if tenant is None else [tenant]
    counts: dict[tuple[int, str, str | None], ChoiceCount] = {}
    with raise_file_errors(path):
        connection = open_traces_reading(path)
        if connection is None:
            return []
        with closing(connection):
            for at, method, choice, calls, cost, is_judged in connection.execute(query, tuple(values)):
                key = int(at // DAY) * DAY, method, choice
                count = counts.setdefault(key, ChoiceCount(*key))
                count.answers += 1
                count.calls += calls
                count.judged += bool(is_judged)
                if cost is not None:
                    count.cost = (count.cost or 0.0) + cost
                    count.priced += 1
    return sorted(counts.values(), key=lambda c: (c.day, c.method, c.choice or ""))
