"""Write the ledger in transactions: calls that start and finish, and the totals of their days and months.

The totals stand in a table beside the calls, so that checking a call against its budgets takes the same time however
many calls there were. They are cached (`windows`) for as long as no other process has written.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from routemoa.core.access.tenants import ALL_TENANTS
from routemoa.core.errors import BudgetExceeded
from routemoa.ledger.budgets.budget_check import TenantBudgets, WindowKey, find_refusal
from routemoa.ledger.budgets.windows import WindowTotals
from routemoa.ledger.schema import BUSY_TIMEOUT, LOG, connect, remove_log, to_store_error
from routemoa.ledger.sqlite.identity import LedgerIdentity, describe_place, identify_file, read_ledger_id
from routemoa.ledger.sqlite.owners import OwnerRow, find_open_calls, forget_owners
from routemoa.ledger.sqlite.process_locks import ProcessLock
from routemoa.ledger.sqlite.statements import DELETE_CALL, INSERT_CALL, INSERT_NOTE, MARK_CALL_LOST, UPDATE_CALL
from routemoa.ledger.steps import FinishedCall, LedgerStep, StartedCall, WithdrawnCall, to_picodollars, valid_count

__all__ = ["LedgerDatabase"]

CLEANUP_INTERVAL = 10.0
"""Seconds between looks for calls of dead processes."""
MIN_CLEANUP_INTERVAL = 1.0
"""The same, where a call is about to be refused because of calls under way."""

Row = tuple[Any, ...]


class LedgerDatabase:
    """The one connection of this process that writes; used by one thread at a time.

    Raises:
        StoreError: the file cannot be opened.
    """

    def __init__(self, path: Path, budgets: TenantBudgets, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._budgets = budgets
        self._path = path
        self._path_text = str(path)
        self._connection = connect(path)
        self._cursor = self._connection.cursor()
        self._file, self._log_file = identify_file(path), identify_file(path.with_name(path.name + "-wal"))
        self._open_calls: dict[int, StartedCall] = {}  # of this process, by their numbers
        self._data_version: int | None = None  # SQLite's, of the data that is cached here
        self._totals = WindowTotals(self._connection)
        self._next_number = 0
        self._last_cleanup = 0.0
        self._process_lock = ProcessLock(path)
        self._owner_row = OwnerRow(self._connection, self._process_lock.id)
        self._id = read_ledger_id(self._connection)
        try:
            self._begin()
            self._process_lock.acquire()
            self._settle_dead_processes()
            for name in (*(t.name for t in budgets.tenants), ALL_TENANTS):
                self._totals.load_windows(name, clock())
            self._commit()
            self._connection.execute("PRAGMA busy_timeout = 0")  # from now on the writer tries again, on its own
        except (OSError, sqlite3.Error) as e:
            self._rollback()
            self.release()
            raise to_store_error(path, e) from e

    @property
    def used(self) -> dict[WindowKey, int]:
        """The picodollars spent and reserved in the windows seen so far; may be read from any thread."""
        return self._totals.used

    def write(self, steps: Sequence[LedgerStep]) -> None:
        """Write all steps, or none of them. A call that does not fit gets a `refusal`.

        Raises:
            sqlite3.Error, OSError: the file cannot be written.
            StoreError: another file is in its place, which is no store.
        """
        if identify_file(self._path_text) != self._file:
            self._move_to_new_file()
        started: list[Row] = []
        finished: list[Row] = []
        withdrawn: list[Row] = []
        noted: list[Row] = []
        try:
            self._begin()
            if time.monotonic() - self._last_cleanup > CLEANUP_INTERVAL:
                self._settle_dead_processes()
                self._owner_row.advance(min(self._open_calls, default=self._next_number))
            for step in steps:
                if isinstance(step, StartedCall):
                    step.refusal = self._check_budget(step)
                    if step.refusal is None:
                        started.append(self._reserve(step))
                elif isinstance(step, WithdrawnCall):
                    if self._settle(step.call, 0):
                        withdrawn.append((step.call.number,))
                elif self._settle(step.call, to_picodollars(step.result.charged)):
                    finished.append(_update_row(step))
                    if step.result.note:
                        noted.append((step.call.number, step.call.request, self._clock(), step.result.note))
            for statement, rows in (
                (INSERT_CALL, started),
                (UPDATE_CALL, finished),
                (DELETE_CALL, withdrawn),
                (INSERT_NOTE, noted),
            ):
                if rows:
                    self._cursor.executemany(statement, rows)
            self._commit()
        except BaseException:
            self._rollback()
            raise
        for step in steps:
            if not isinstance(step, StartedCall):
                self._open_calls.pop(step.call.number, None)
            elif step.refusal is None:
                self._open_calls[step.number] = step

    def reload_used(self, key: str) -> None:
        """Read again what a tenant has used: another process may have written, or corrected a call."""
        self._totals.reload_used(key, self._clock())

    # --- for budgets that several ledgers share

    @property
    def identity(self) -> LedgerIdentity:
        """Return which ledger and which process this is."""
        return LedgerIdentity(self._id, self._process_lock.id, describe_place(self._file))

    def read_spent(self, keys: Collection[WindowKey] | None) -> dict[WindowKey, int]:
        """Return the picodollars spent in windows, by all processes; None are all of this day and month.

        Raises sqlite3.Error.
        """
        return self._totals.read_spent_in(keys, self._clock())

    def settle_dead_processes(self) -> set[str]:
        """Settle the calls of dead processes at the most that they can have cost; return the processes that are alive.

        Raises sqlite3.Error, OSError.
        """
        try:
            self._begin()
            self._settle_dead_processes()
            alive = self._process_lock.live_owners()
            self._commit()
        except BaseException:
            self._rollback()
            raise
        return alive

    def close(self) -> None:
        """Settle the calls that this process has left open, as if it had died, and close. Raises sqlite3.Error."""
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
        """Close the file without writing."""
        self._process_lock.release()
        self._connection.close()

    # --- a file that was deleted or replaced while it was open

    def _move_to_new_file(self) -> None:
        """Go on in the file that is at the path now; create one where there is none.

        What is spent today and this month counts on: the new totals are at least the old ones, and calls under way are
        written again. Raises StoreError, OSError, sqlite3.Error; then the next write tries again.
        """
        was_deleted = identify_file(self._path) is None
        spent_before = self._totals.read_spent(self._clock())
        if not was_deleted and identify_file(self._path.with_name(self._path.name + "-wal")) == self._log_file:
            remove_log(self._path)  # the old file's
        connection = connect(self._path)
        self._process_lock.release()
        self._connection.close()
        self._connection, self._cursor = connection, connection.cursor()
        self._totals.cursor = self._cursor
        connection.execute("PRAGMA busy_timeout = 0")
        log = self._path.with_name(self._path.name + "-wal")
        self._file, self._log_file = identify_file(self._path), identify_file(log)
        self._data_version = None
        self._process_lock = ProcessLock(self._path)
        self._owner_row = OwnerRow(connection, self._process_lock.id)
        calls, self._open_calls = list(self._open_calls.values()), {}
        try:
            self._begin()
            self._process_lock.acquire()
            for key, spent in spent_before.items():
                window = self._totals.load_window(key)
                window.spent = max(window.spent, spent)
            if was_deleted:  # it is the same ledger to those that share its budgets
                connection.execute("UPDATE identity SET id = ?", (self._id,))
            self._id = read_ledger_id(connection)
            connection.executemany(INSERT_CALL, [self._reserve(call) for call in calls])
            self._commit()
        except BaseException:
            self._rollback()
            raise
        finally:
            self._open_calls |= {call.number: call for call in calls}
        LOG.warning(
            "%s: the store was %s while it was in use; calls are written to the file that is there now, and budgets "
            "count what was spent today and this month",
            self._path,
            "deleted" if was_deleted else "replaced",
        )

    # --- transactions

    def _begin(self) -> None:
        self._cursor.execute("BEGIN IMMEDIATE")
        self._totals.start_day(self._clock())
        version = self._cursor.execute("PRAGMA data_version").fetchone()[0]
        if version != self._data_version:
            self._totals.forget()
            self._next_number = self._connection.execute("SELECT ifnull(max(id), 0) + 1 FROM calls").fetchone()[0]
            self._data_version = version

    def _commit(self) -> None:
        self._totals.write_changes()
        self._cursor.execute("COMMIT")
        self._totals.confirm_changes()
        self._process_lock.remove_stale()

    def _rollback(self) -> None:
        self._data_version = None  # what is cached was not written
        self._totals.drop_changes()
        self._owner_row.forget()
        self._process_lock.release_stale()
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    # --- calls

    def _reserve(self, call: StartedCall) -> Row:
        """Reserve the most that a call can cost, give it a number, and return its row."""
        self._totals.reserve(call)
        call.number = self._next_number
        self._next_number += 1
        self._owner_row.cover(call.number)
        head = (call.number, call.request, call.began, call.key, call.method, call.model, call.purpose, call.max_cost)
        return (*head, self._process_lock.id)

    def _settle(self, call: StartedCall, charged: int) -> bool:
        """Replace a call's reservation by what is charged. Return False for a call that was never recorded."""
        if call.refusal is not None or not call.number:
            return False
        self._totals.settle(call, charged)
        return True

    # --- budgets

    def _check_budget(self, call: StartedCall) -> BudgetExceeded | None:
        """Return why a call does not fit its budgets, None where it does."""
        refusal = self._find_refusal(call)
        if refusal is not None and refusal.temporary and time.monotonic() - self._last_cleanup > MIN_CLEANUP_INTERVAL:
            self._settle_dead_processes()  # so that no request waits for the calls of a dead process
            return self._find_refusal(call)
        return refusal

    def _find_refusal(self, call: StartedCall) -> BudgetExceeded | None:
        return find_refusal(call, self._budgets.limits(call.key), self._totals.load_window)

    # --- calls of dead processes

    def _settle_dead_processes(self) -> None:
        self._last_cleanup = time.monotonic()
        self._settle_open_calls(self._process_lock.live_owners())

    def _settle_open_calls(self, live_owners: set[str]) -> None:
        """Settle the open calls of all but these processes, at the most that they can have cost."""
        rows = list(find_open_calls(self._connection, live_owners, self._process_lock.dead_owners))
        for number, began, key, most in rows:
            self._settle(StartedCall("", began, key, "", "", "", most, number), to_picodollars(most))
        self._connection.executemany(MARK_CALL_LOST, [(number,) for number, *_ in rows])
        forget_owners(self._connection, live_owners)


def _update_row(step: FinishedCall) -> Row:
    result, usage = step.result, step.result.usage
    tokens = map(valid_count, (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens))
    return (*tokens, result.cost, result.charged, result.seconds, result.outcome, step.call.number)
