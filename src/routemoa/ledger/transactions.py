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
from routemoa.core.tenants import ALL_TENANTS, SPANS, SpendingLimits, Tenants, find_windows, format_time
from routemoa.ledger.process_locks import ProcessLock
from routemoa.ledger.schema import BUSY, connect, trouble

__all__ = ["Begun", "Ended", "LedgerDatabase", "Undone", "to_picodollars"]

UNIT = 1e12  # a dollar in the windows' whole numbers
MOST = 2**61  # two million dollars: whoever counts more miscounts, and a column has an end
OFTEN, SELDOM = 1.0, 10.0  # seconds between looks for dead processes: before a refusal, and else
INSERT = "INSERT INTO calls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
UPDATE = (
    "UPDATE calls SET prompt_tokens = ?, completion_tokens = ?, cached_tokens = ?, cost = ?, charged = ?, seconds = ?, "
    "outcome = ? WHERE id = ?"
)
UPSERT = (
    "INSERT INTO windows VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET spent = excluded.spent, held = excluded.held"
)

Key = tuple[str, str]  # whose window, and which


class Begun(Struct):
    """A call that is about to be made. `number` is its row's, once it is committed."""

    request: str
    began: float
    key: str
    method: str
    model: str
    purpose: str
    most: float | None
    number: int = 0
    refused: BudgetExceeded | None = None


class Ended(Struct):
    """What became of a call."""

    call: Begun
    closing: CallResult


class Undone(Struct):
    """A call that was not made after all: whoever asked for it was gone when it was written down."""

    call: Begun


class Window(Struct):
    """Whole numbers of UNIT."""

    spent: int
    held: int


def to_picodollars(dollars: float | None) -> int:
    """Dollars as a whole number, rounded up; what floats cannot tell apart from less is no more."""
    return 0 if dollars is None else max(0, math.ceil(min(dollars * UNIT - 1e-3, float(MOST))))


class LedgerDatabase:
    """The store's one connection that writes; used by one thread at a time. Raises StoreError on opening.

    Attributes:
        used: dollars spent and held, as whole numbers, of the windows seen so far; may be read from any thread.
    """

    def __init__(self, path: Path, tenants: Tenants, clock: Callable[[], float]) -> None:
        self.used: dict[Key, int] = {}
        self._clock = clock
        self._day = ""
        self._tenants = tenants
        self._connection = connect(path)
        self._version: int | None = None  # of the data that is remembered
        self._windows: dict[Key, Window] = {}
        self._touched: set[Key] = set()
        self._next = 0  # number of the next call
        self._looked = 0.0
        self._owner = ProcessLock(path)
        try:
            self._begin()
            self._owner.join()
            self._settle_dead()
            for name in (*(t.name for t in tenants), ALL_TENANTS):
                self._falls_into(name, clock())
            self._commit()
            self._connection.execute("PRAGMA busy_timeout = 0")  # from now on nobody waits here
        except (OSError, sqlite3.Error) as e:
            self._rollback()
            self.leave()
            raise trouble(path, e) from e

    def limits(self, key: str) -> tuple[tuple[str, SpendingLimits], ...]:
        """Whose limits a call of `key` must keep, and which."""
        return tuple(
            (name, of) for name, of in ((key, self._tenants.limits(key)), (ALL_TENANTS, self._tenants.totals)) if of
        )

    def write(self, steps: Sequence[Begun | Ended | Undone]) -> None:
        """Write all steps down, or none of them. A call that does not fit is `refused`. Raises sqlite3.Error."""
        rows: list[tuple[Any, ...]] = []
        ended: list[tuple[Any, ...]] = []
        undone: list[tuple[int]] = []
        try:
            self._begin()
            if time.monotonic() - self._looked > SELDOM:
                self._settle_dead()
            for step in steps:
                if isinstance(step, Begun):
                    if self._fits(step):
                        rows.append(self._reserve(step))
                elif isinstance(step, Undone):
                    undone += [(step.call.number,)] if self._release(step.call, 0) else []
                elif self._release(step.call, to_picodollars(step.closing.charged)):
                    ended.append(_ending(step))
            self._many(INSERT, rows)
            self._many(UPDATE, ended)
            self._many("DELETE FROM calls WHERE id = ?", undone)
            self._commit()
        except BaseException:
            self._rollback()
            raise

    def close(self) -> None:
        """Settle what this process has left open, as if it had died, and let go of the file. Raises sqlite3.Error."""
        try:
            self._connection.execute(f"PRAGMA busy_timeout = {BUSY * 1000:.0f}")
            self._begin()
            self._settle(self._owner.live_owners() - {self._owner.id})
            self._commit()
        except BaseException:
            self._rollback()
            raise
        finally:
            self.leave()

    def leave(self) -> None:
        """Let go of the file without writing."""
        self._owner.leave()
        self._connection.close()

    def _begin(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        today = find_windows(self._clock())
        if today.day != self._day:
            self._day = today.day
            self._windows.clear()
            self.used = {key: used for key, used in self.used.items() if key[1] in (today.day, today.month)}
        version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            self._windows.clear()
            self._next = self._connection.execute("SELECT ifnull(max(id), 0) + 1 FROM calls").fetchone()[0]
            self._version = version

    def _commit(self) -> None:
        self._many(UPSERT, [(*key, w.spent, w.held) for key in self._touched if (w := self._windows[key])])
        self._connection.execute("COMMIT")
        for key in self._touched:
            self.used[key] = self._windows[key].spent + self._windows[key].held
        self._touched.clear()
        self._owner.remove_stale()

    def _rollback(self) -> None:
        self._version = None  # what is remembered was not written
        self._touched.clear()
        self._owner.spare()
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _many(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        if rows:
            self._connection.executemany(statement, rows)

    def _window(self, key: Key) -> Window:
        self._touched.add(key)
        if key not in self._windows:
            row = self._connection.execute(
                "SELECT spent, held FROM windows WHERE key = ? AND window = ?", key
            ).fetchone()
            self._windows[key] = Window(*(row or (0, 0)))
        return self._windows[key]

    def _falls_into(self, key: str, began: float) -> Iterable[Window]:
        now = find_windows(began)
        return [self._window((name, now.id(span))) for name in (key, ALL_TENANTS) for span in SPANS]

    def _reserve(self, call: Begun) -> tuple[Any, ...]:
        most = to_picodollars(call.most)
        for window in self._falls_into(call.key, call.began):
            window.held = min(MOST, window.held + most)
        call.number = self._next
        self._next += 1
        head = (call.number, call.request, call.began, call.key, call.method, call.model, call.purpose, call.most)
        return (*head, None, None, None, None, None, None, "open", self._owner.id)

    def _release(self, call: Begun, charged: int) -> bool:
        """Whether there was something to release: a call that was not written down has nothing."""
        if call.refused is not None or not call.number:
            return False
        most = to_picodollars(call.most)
        for window in self._falls_into(call.key, call.began):
            window.held = max(0, window.held - most)
            window.spent = min(MOST, window.spent + charged)
        return True

    def _fits(self, call: Begun) -> bool:
        call.refused = self._refusal(call)
        if call.refused is not None and call.refused.temporary and time.monotonic() - self._looked > OFTEN:
            self._settle_dead()  # nobody shall wait for the calls of a dead process
            call.refused = self._refusal(call)
        return call.refused is None

    def _refusal(self, call: Begun) -> BudgetExceeded | None:
        """What there is to say against a call; the budget that stands longest in its way has the word."""
        most, now = to_picodollars(call.most), find_windows(call.began)
        found: list[tuple[bool, float, str]] = []
        for name, limits in self.limits(call.key):
            for span in SPANS:
                limit = limits.for_span(span)
                if limit is None:
                    continue
                window = self._window((name, now.id(span)))
                free = round(limit * UNIT) - window.spent
                if most > free - window.held:
                    left = max(0, free - window.held) / UNIT
                    said = f"${left:,.4g} of ${limit:,.4g} is left of this {span}'s budget"
                    whose = "everybody together" if name == ALL_TENANTS else f"tenant '{name}'"
                    found.append((most > free, now.reset(span), f"{whose}: {said}"))
        if not found:
            return None
        spent, reset, said = max(found)
        until = "it" if spent else "calls under way may free some of it; it"
        said = f"{said}, and the next call can cost ${call.most or 0:,.4g}; {until} begins anew at {format_time(reset)}"
        return BudgetExceeded(said, temporary=not spent, reset=reset)

    def _settle_dead(self) -> None:
        self._looked = time.monotonic()
        self._settle(self._owner.live_owners())

    def _settle(self, living: set[str]) -> None:
        """Open calls of all processes but these have ended, nobody knows how: they count as the most they can be."""
        marks = ", ".join("?" * len(living))
        chosen = f"SELECT id, began, key, most FROM calls WHERE outcome = 'open' AND owner NOT IN ({marks})"  # noqa: S608
        dead = self._connection.execute(chosen, tuple(living)).fetchall()
        for number, began, key, most in dead:
            self._release(Begun("", began, key, "", "", "", most, number), to_picodollars(most))
        self._many("UPDATE calls SET charged = most, outcome = 'lost' WHERE id = ?", [(row[0],) for row in dead])


def _ending(step: Ended) -> tuple[Any, ...]:
    end, usage = step.closing, step.closing.usage
    tokens = map(_count, (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens))
    return (*tokens, end.cost, end.charged, end.seconds, end.outcome, step.call.number)


def _count(tokens: int | None) -> int | None:
    """What no provider can mean, and no column hold, is unknown."""
    return tokens if tokens is not None and 0 <= tokens < 2**63 else None
