"""Write many steps of calls in one transaction: two exchanges with the server, however many steps there are.

The first one locks what the steps touch, always in the same order (calls, then windows, each sorted), so that two
processes wait for one another and do not deadlock. Between the two the budgets are checked by the rules of all stores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Struct

from routemoa.core.protocols import CallResult
from routemoa.ledger.budgets.budget_check import (
    TenantBudgets,
    Window,
    WindowKey,
    find_refusal,
    list_windows,
    reserve_in,
    settle_in,
)
from routemoa.ledger.steps import FinishedCall, LedgerStep, StartedCall, WithdrawnCall, to_picodollars, valid_count

if TYPE_CHECKING:
    import psycopg

__all__ = [
    "GIVE_IDS",
    "INSERT_CALLS",
    "Batch",
    "Owner",
    "WindowsMissing",
    "clean_text",
    "columns",
    "lock_windows",
    "write_windows",
]

GIVE_IDS = "SELECT nextval('call_ids') FROM generate_series(1, %s)"
LOCK_CALLS = (
    "SELECT id, outcome, EXISTS (SELECT FROM notes n WHERE n.call = calls.id AND n.cost IS NOT NULL) FROM calls "
    "WHERE id = ANY(%s) ORDER BY id FOR UPDATE"
)
LOCK_WINDOWS = (
    'SELECT w.key, w."window", w.spent, w.held FROM windows w JOIN unnest(%s::text[], %s::text[]) AS u (k, v) '
    'ON w.key = u.k AND w."window" = u.v ORDER BY w.key, w."window" FOR UPDATE OF w'
)
WRITE_WINDOWS = (
    "UPDATE windows SET spent = u.s, held = u.h "
    "FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[]) AS u (k, v, s, h) "
    'WHERE windows.key = u.k AND windows."window" = u.v'
)
INSERT_CALLS = (
    "INSERT INTO calls SELECT * FROM unnest(%s::bigint[], %s::text[], %s::float8[], %s::text[], %s::text[], "
    "%s::text[], %s::text[], %s::float8[], %s::bigint[], %s::bigint[], %s::bigint[], %s::float8[], %s::float8[], "
    "%s::float8[], %s::text[], %s::text[])"
)
UPDATE_CALLS = (
    "UPDATE calls SET prompt_tokens = u.p, completion_tokens = u.c, cached_tokens = u.k, cost = u.cost, "
    "charged = u.charged, seconds = u.s, outcome = u.o FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], "
    "%s::bigint[], %s::float8[], %s::float8[], %s::float8[], %s::text[]) AS u (id, p, c, k, cost, charged, s, o) "
    "WHERE calls.id = u.id"
)
DELETE_CALLS = "DELETE FROM calls WHERE id = ANY(%s)"
INSERT_NOTES = (
    "INSERT INTO notes (call, request, at, note) SELECT * FROM unnest(%s::bigint[], %s::text[], %s::float8[], "
    "%s::text[])"
)
SIGN = (
    "INSERT INTO owners (id, expires, batch) VALUES (%s, clock_timestamp() + %s * interval '1 second', %s) "
    "ON CONFLICT (id) DO UPDATE SET expires = excluded.expires, batch = excluded.batch"
)


class WindowsMissing(Exception):
    """Windows are not in the table: they are to be made first."""


class Owner(NamedTuple):
    """The process that writes, as the table `owners` has it."""

    id: str
    lease: float
    """Seconds for which it counts as alive from each of its transactions on."""


class Known(NamedTuple):
    """A call of before, as it is in the table."""

    outcome: str
    is_corrected: bool


class Batch(Struct):
    """Steps that are written together, all or none."""

    number: int
    """Of this process, ascending: the table `owners` has the last one that was committed."""
    steps: Sequence[LedgerStep]
    ids: dict[int, int] = {}
    """Position of a step -> the id of its call, to be used once it is committed."""
    refused: dict[int, Any] = {}
    windows: dict[WindowKey, Window] = {}
    was_sent: bool = False
    """Whether the commit is on its way: from here on its outcome is unknown where the connection is lost."""

    def window_keys(self) -> list[WindowKey]:
        """Return the windows that the steps touch, sorted."""
        calls = {(c.key, c.began) for s in self.steps for c in [s if isinstance(s, StartedCall) else s.call]}
        return sorted({key for call in calls for key in list_windows(*call)})

    def write(
        self, raw: psycopg.Connection[Any], owner: Owner, budgets: TenantBudgets, now: Callable[[], float]
    ) -> None:
        """Write the steps.

        Raises:
            psycopg.Error: nothing is written, or that is unknown where `was_sent`.
            WindowsMissing: nothing is written.
        """
        keys = self.window_keys()
        known, ids = self._lock(raw, keys)
        rows = _Rows(owner.id, self.windows, known, ids, now)
        for position, step in enumerate(self.steps):
            if isinstance(step, StartedCall):
                limits = () if step.is_free else budgets.limits(step.key)
                refusal = find_refusal(step, limits, self.windows.__getitem__)
                if refusal is None:
                    self.ids[position] = rows.start(step)
                else:
                    self.refused[position] = refusal
            elif isinstance(step, FinishedCall):
                rows.finish(step)
            else:
                rows.withdraw(step)
        self.was_sent = True
        with raw.pipeline():
            rows.execute(raw)
            raw.execute(WRITE_WINDOWS, _window_columns(self.windows))
            raw.execute(SIGN, (owner.id, owner.lease, self.number))
            raw.execute("COMMIT")

    def confirm(self) -> None:
        """Give the calls their numbers and refusals: the batch is committed."""
        for position, number in self.ids.items():
            self._started(position).number = number
        for position, refusal in self.refused.items():
            self._started(position).refusal = refusal

    def _started(self, position: int) -> StartedCall:
        step = self.steps[position]
        assert isinstance(step, StartedCall)  # noqa: S101
        return step

    def _lock(self, raw: psycopg.Connection[Any], keys: list[WindowKey]) -> tuple[dict[int, Known], list[int]]:
        """Begin a transaction, lock what the steps touch, and return the calls of before and ids for new ones."""
        self.ids, self.refused, self.was_sent = {}, {}, False
        started = sum(isinstance(s, StartedCall) for s in self.steps)
        ended = sorted({s.call.number for s in self.steps if not isinstance(s, StartedCall) and s.call.number})
        with raw.pipeline():
            raw.execute("BEGIN")
            numbers = raw.execute(GIVE_IDS, (started,)) if started else None
            calls = raw.execute(LOCK_CALLS, (ended,)) if ended else None
            windows = raw.execute(LOCK_WINDOWS, _key_columns(keys))
        self.windows = _to_windows(windows.fetchall())
        if len(self.windows) < len(keys):
            raise WindowsMissing
        known = {row[0]: Known(row[1], row[2]) for row in calls.fetchall()} if calls else {}
        return known, [row[0] for row in numbers.fetchall()] if numbers else []


class _Rows:
    """The rows that a batch inserts, updates and deletes; counts them in the windows."""

    def __init__(
        self,
        owner: str,
        windows: dict[WindowKey, Window],
        known: dict[int, Known],
        ids: list[int],
        now: Callable[[], float],
    ) -> None:
        self._owner, self._windows, self._known, self._now = owner, windows, known, now
        self._ids = iter(ids)
        self._new: dict[int, tuple[StartedCall, CallResult | None]] = {}
        self._new_of: dict[int, int] = {}  # id() of a StartedCall -> its number
        self._updates: dict[int, CallResult] = {}
        self._deletes: list[int] = []
        self._notes: list[tuple[int, str, float, str]] = []

    def start(self, call: StartedCall) -> int:
        """Reserve the most that a call can cost and return its id."""
        windows = [self._windows[key] for key in list_windows(call.key, call.began)]
        reserve_in(windows, to_picodollars(call.max_cost))
        number = next(self._ids)
        self._new[number] = call, None
        self._new_of[id(call)] = number
        return number

    def finish(self, step: FinishedCall) -> None:
        """Settle a call by its result."""
        number = self._settle(step.call, to_picodollars(step.result.charged))
        if number is None:
            return
        if number in self._new:
            self._new[number] = step.call, step.result
        else:
            self._updates[number] = step.result
        if step.result.note:
            self._notes.append((number, step.call.request, self._now(), clean_text(step.result.note)))

    def withdraw(self, step: WithdrawnCall) -> None:
        """Take a call back that was recorded and then not made."""
        number = self._settle(step.call, 0)
        if number is not None and self._new.pop(number, None) is None:
            self._deletes.append(number)

    def execute(self, raw: psycopg.Connection[Any]) -> None:
        """Send the rows."""
        if self._new:
            raw.execute(INSERT_CALLS, columns([self._to_row(n, *call) for n, call in self._new.items()]))
        if self._updates:
            raw.execute(UPDATE_CALLS, columns([(n, *_result_columns(r)) for n, r in self._updates.items()]))
        if self._deletes:
            raw.execute(DELETE_CALLS, (self._deletes,))
        if self._notes:
            raw.execute(INSERT_NOTES, columns(self._notes))

    def _settle(self, call: StartedCall, charged: int) -> int | None:
        """Replace a call's reservation by what is charged; return its id, None where there is nothing to settle.

        A call that another process took for lost, as this one was away, is charged what it did cost in place of the
        most: it counts once. One that was corrected since stays as it was corrected.
        """
        number = self._new_of.get(id(call)) or call.number
        if call.refusal is not None or not number:
            return None
        most = to_picodollars(call.max_cost)
        windows = [self._windows[key] for key in list_windows(call.key, call.began)]
        if number in self._new or self._known.get(number, Known("", False)).outcome == "open":
            settle_in(windows, most, charged)
        elif self._known.get(number) == Known("lost", False):
            for window in windows:
                window.add(charged - most)
        else:
            return None
        self._known[number] = Known("settled", False)
        return number

    def _to_row(self, number: int, call: StartedCall, result: CallResult | None) -> tuple[Any, ...]:
        names = (call.key, *map(clean_text, (call.method, call.model, call.purpose)))
        ended = (None,) * 6 + ("open",) if result is None else _result_columns(result)
        return (number, call.request, call.began, *names, call.max_cost, *ended, self._owner)


def lock_windows(raw: psycopg.Connection[Any], keys: Sequence[WindowKey]) -> dict[WindowKey, Window]:
    """Lock windows in the open transaction and return them."""
    return _to_windows(raw.execute(LOCK_WINDOWS, _key_columns(sorted(keys))).fetchall())


def write_windows(raw: psycopg.Connection[Any], windows: dict[WindowKey, Window]) -> None:
    """Write windows that the open transaction has locked."""
    raw.execute(WRITE_WINDOWS, _window_columns(windows))


def clean_text(text: str) -> str:
    """Return a text that the database can hold: without NUL, and without halves of characters."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _to_windows(rows: Sequence[Any]) -> dict[WindowKey, Window]:
    return {(key, window): Window(spent, held) for key, window, spent, held in rows}


def columns(rows: Sequence[tuple[Any, ...]]) -> tuple[list[Any], ...]:
    """Return rows as arrays, one for each column."""
    return tuple(map(list, zip(*rows, strict=True)))


def _key_columns(keys: Sequence[WindowKey]) -> tuple[list[str], list[str]]:
    return [key for key, _ in keys], [window for _, window in keys]


def _window_columns(windows: dict[WindowKey, Window]) -> tuple[list[Any], ...]:
    return (*_key_columns(list(windows)), [w.spent for w in windows.values()], [w.held for w in windows.values()])


def _result_columns(result: CallResult) -> tuple[Any, ...]:
    usage = result.usage
    tokens = map(valid_count, (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens))
    return (*tokens, result.cost, result.charged, result.seconds, clean_text(result.outcome))
