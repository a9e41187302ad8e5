"""What is written in one transaction: calls that begin and end, and the totals of the windows they fall into.

Totals are kept beside the calls, so that a call's check costs the same however many there were. They are remembered
between transactions for as long as no other process has written.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from routemoa.core.errors import BudgetExceeded
from routemoa.core.protocols import CallResult
from routemoa.core.tenants import ALL_TENANTS, SPANS, SpendingLimits, Tenants, format_time, find_windows
from routemoa.ledger.process_locks import ProcessLock
from routemoa.ledger.schema import BUSY_TIMEOUT, connect, to_store_error

__all__ = ["StartedCall", "FinishedCall", "LedgerDatabase", "WithdrawnCall", "to_picodollars"]

PICODOLLARS_PER_DOLLAR = 1e12  # a dollar in the windows' whole numbers
MAX_PICODOLLARS = 2**61  # two million dollars: whoever counts more miscounts, and a column has an end
MIN_CLEANUP_INTERVAL, CLEANUP_INTERVAL = 1.0, 10.0  # seconds between looks for dead processes: before a refusal, and else
INSERT_CALL = "INSERT INTO calls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
UPDATE_CALL = (
    "UPDATE calls SET prompt_tokens = ?, completion_tokens = ?, cached_tokens = ?, cost = ?, charged = ?, seconds = ?, "
    "outcome = ? WHERE id = ?"
)
UPSERT_WINDOW = (
    "INSERT INTO windows VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET spent = excluded.spent, held = excluded.held"
)

WindowKey = tuple[str, str]  # whose window, and which


class StartedCall(Struct):
    """A call that is about to be made. `number` is its row's, once it is committed."""

    request: str
    began: float
    key: str
    method: str
    model: str
    purpose: str
    max_cost: float | None
    number: int = 0
    refusal: BudgetExceeded | None = None


class FinishedCall(Struct):
    """What became of a call."""

    call: StartedCall
    result: CallResult


class WithdrawnCall(Struct):
    """A call that was not made after all: whoever asked for it was gone when it was written down."""

    call: StartedCall


class Window(Struct):
    """Whole numbers of UNIT."""

    spent: int
    held: int


def to_picodollars(dollars: float | None) -> int:
    """Dollars as a whole number, rounded up; what floats cannot tell apart from less is no more."""
    return 0 if dollars is None else max(0, math.ceil(min(dollars * PICODOLLARS_PER_DOLLAR - 1e-3, float(MAX_PICODOLLARS))))


class LedgerDatabase:
    """The store's one connection that writes; used by one thread at a time. Raises StoreError on opening.

    Attributes:
        used: dollars spent and held, as whole numbers, of the windows seen so far; may be read from any thread.
    """

    def __init__(self, path: Path, tenants: Tenants, clock: Callable[[], float]) -> None:
        self.used: dict[WindowKey, int] = {}
        self._clock = clock
        self._today = ""
        self._tenants = tenants
        self._connection = connect(path)
        self._version: int | None = None  # of the data that is remembered
        self._windows: dict[WindowKey, Window] = {}
        self._changed: set[WindowKey] = set()
        self._next_number = 0  # number of the next call
        self._last_cleanup = 0.0
        self._process_lock = ProcessLock(path)
        try:
            self._begin()
            self._process_lock.acquire()
            self._settle_dead_processes()
            for name in (*(t.name for t in tenants), ALL_TENANTS):
                self._load_windows(name, clock())
            self._commit()
            self._connection.execute("PRAGMA busy_timeout = 0")  # from now on nobody waits here
        except (OSError, sqlite3.Error) as e:
            self._rollback()
            self.release()
            raise to_store_error(path, e) from e

    def limits(self, key: str) -> tuple[tuple[str, SpendingLimits], ...]:
        """Whose limits a call of `key` must keep, and which."""
        return tuple((name, of) for name, of in ((key, self._tenants.limits(key)), (ALL_TENANTS, self._tenants.totals)) if of)

    def write(self, steps: Sequence[StartedCall | FinishedCall | WithdrawnCall]) -> None:
        """Write all steps down, or none of them. A call that does not fit is `refused`. Raises sqlite3.Error."""
        rows: list[tuple[Any, ...]] = []
        ended: list[tuple[Any, ...]] = []
        undone: list[tuple[int]] = []
        try:
            self._begin()
            if time.monotonic() - self._last_cleanup > CLEANUP_INTERVAL:
                self._settle_dead_processes()
            for step in steps:
                if isinstance(step, StartedCall):
                    if self._check_budget(step):
                        rows.append(self._reserve(step))
                elif isinstance(step, WithdrawnCall):
                    undone += [(step.call.number,)] if self._release(step.call, 0) else []
                elif self._release(step.call, to_picodollars(step.result.charged)):
                    ended.append(_update_row(step))
            self._execute_many(INSERT_CALL, rows)
            self._execute_many(UPDATE_CALL, ended)
            self._execute_many("DELETE FROM calls WHERE id = ?", undone)
            self._commit()
        except BaseException:
            self._rollback()
            raise

    def close(self) -> None:
        """Settle what this process has left open, as if it had died, and let go of the file. Raises sqlite3.Error."""
        try:
            self._connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT * 1000:.0f}")
            self._begin()
            self._settle_open_calls(self._process_lock.live_owners() - {self._process_lock.id})
            self._commit()
        except BaseException:
            self._rollback()
            raise
        finally:
            self.release()

    def release(self) -> None:
        """Let go of the file without writing."""
        self._process_lock.release()
        self._connection.close()

    def _begin(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        today = find_windows(self._clock())
        if today.day != self._today:
            self._today = today.day
            self._windows.clear()
            self.used = {key: used for key, used in self.used.items() if key[1] in (today.day, today.month)}
        version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            self._windows.clear()
            self._next_number = self._connection.execute("SELECT ifnull(max(id), 0) + 1 FROM calls").fetchone()[0]
            self._version = version

    def _commit(self) -> None:
        self._execute_many(UPSERT_WINDOW, [(*key, w.spent, w.held) for key in self._changed if (w := self._windows[key])])
        self._connection.execute("COMMIT")
        for key in self._changed:
            self.used[key] = self._windows[key].spent + self._windows[key].held
        self._changed.clear()
        self._process_lock.remove_stale()

    def _rollback(self) -> None:
        self._version = None  # what is remembered was not written
        self._changed.clear()
        self._process_lock.release_stale()
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _execute_many(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        if rows:
            self._connection.executemany(statement, rows)

    def _load_window(self, key: WindowKey) -> Window:
        self._changed.add(key)
        if key not in self._windows:
            row = self._connection.execute(
                "SELECT spent, held FROM windows WHERE key = ? AND window = ?", key
            ).fetchone()
            self._windows[key] = Window(*(row or (0, 0)))
        return self._windows[key]

    def _load_windows(self, key: str, began: float) -> Iterable[Window]:
        now = find_windows(began)
        return [self._load_window((name, now.id(span))) for name in (key, ALL_TENANTS) for span in SPANS]

    def _reserve(self, call: StartedCall) -> tuple[Any, ...]:
        most = to_picodollars(call.max_cost)
        for window in self._load_windows(call.key, call.began):
            window.held = min(MAX_PICODOLLARS, window.held + most)
        call.number = self._next_number
        self._next_number += 1
        head = (call.number, call.request, call.began, call.key, call.method, call.model, call.purpose, call.max_cost)
        return (*head, None, None, None, None, None, None, "open", self._process_lock.id)

    def _release(self, call: StartedCall, charged: int) -> bool:
        """Whether there was something to release: a call that was not written down has nothing."""
        if call.refusal is not None or not call.number:
            return False
        most = to_picodollars(call.max_cost)
        for window in self._load_windows(call.key, call.began):
            window.held = max(0, window.held - most)
            window.spent = min(MAX_PICODOLLARS, window.spent + charged)
        return True

    def _check_budget(self, call: StartedCall) -> bool:
        call.refusal = self._find_refusal(call)
        if call.refusal is not None and call.refusal.temporary and time.monotonic() - self._last_cleanup > MIN_CLEANUP_INTERVAL:
            self._settle_dead_processes()  # nobody shall wait for the calls of a dead process
            call.refusal = self._find_refusal(call)
        return call.refusal is None

    def _find_refusal(self, call: StartedCall) -> BudgetExceeded | None:
        """What there is to say against a call; the budget that stands longest in its way has the word."""
        most, now = to_picodollars(call.max_cost), find_windows(call.began)
        found: list[tuple[bool, float, str]] = []
        for name, limits in self.limits(call.key):
            for span in SPANS:
                limit = limits.for_span(span)
                if limit is None:
                    continue
                window = self._load_window((name, now.id(span)))
                free = round(limit * PICODOLLARS_PER_DOLLAR) - window.spent
                if most > free - window.held:
                    left = max(0, free - window.held) / PICODOLLARS_PER_DOLLAR
                    said = f"${left:,.4g} of ${limit:,.4g} is left of this {span}'s budget"
                    whose = "everybody together" if name == ALL_TENANTS else f"tenant '{name}'"
                    found.append((most > free, now.reset(span), f"{whose}: {said}"))
        if not found:
            return None
        spent, reset, said = max(found)
        until = "it" if spent else "calls under way may free some of it; it"
        said = f"{said}, and the next call can cost ${call.max_cost or 0:,.4g}; {until} begins anew at {format_time(reset)}"
        return BudgetExceeded(said, temporary=not spent, reset=reset)

    def _settle_dead_processes(self) -> None:
        self._last_cleanup = time.monotonic()
        self._settle_open_calls(self._process_lock.live_owners())

    def _settle_open_calls(self, living: set[str]) -> None:
        """Open calls of all processes but these have ended, nobody knows how: they count as the most they can be."""
        marks = ", ".join("?" * len(living))
        chosen = f"SELECT id, began, key, most FROM calls WHERE outcome = 'open' AND owner NOT IN ({marks})"  # noqa: S608
        dead = self._connection.execute(chosen, tuple(living)).fetchall()
        for number, began, key, most in dead:
            self._release(StartedCall("", began, key, "", "", "", most, number), to_picodollars(most))
        self._execute_many("UPDATE calls SET charged = most, outcome = 'lost' WHERE id = ?", [(row[0],) for row in dead])


def _update_row(step: FinishedCall) -> tuple[Any, ...]:
    end, usage = step.result, step.result.usage
    tokens = map(_valid_count, (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens))
    return (*tokens, end.cost, end.charged, end.seconds, end.outcome, step.call.number)


def _valid_count(tokens: int | None) -> int | None:
    """What no provider can mean, and no column hold, is unknown."""
    return tokens if tokens is not None and 0 <= tokens < 2**63 else None
