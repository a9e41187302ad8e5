"""The totals of tenants' days and months: cached between transactions, changed in memory, written by the commit."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable

from routemoa.core.access.tenants import ALL_TENANTS, find_windows
from routemoa.ledger.budgets.budget_check import Window, WindowKey, list_windows, reserve_in, settle_in
from routemoa.ledger.steps import StartedCall, to_picodollars

__all__ = ["WindowTotals"]

SECONDS_PER_DAY = 86_400
WRITE_WINDOW = "INSERT OR REPLACE INTO windows VALUES (?, ?, ?, ?)"


class WindowTotals:
    """The totals of the windows seen so far."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.cursor = connection.cursor()
        """May be replaced between two transactions. A connection would make one for each statement."""
        self.used: dict[WindowKey, int] = {}
        """Picodollars spent and reserved, as last committed; stays the same dict, and may be read from any thread."""
        self._windows: dict[WindowKey, Window] = {}
        self._windows_of: dict[tuple[str, int], dict[WindowKey, Window]] = {}  # of a call, by its tenant and day
        self._changed: dict[WindowKey, Window] = {}
        self._today = ""

    # --- between transactions

    def forget(self) -> None:
        """Forget what is cached: another process may have written, or it was not committed."""
        self._windows.clear()
        self._windows_of.clear()

    def start_day(self, now: float) -> None:
        """Forget the windows of former days and months, where a new day has begun at `now`."""
        today = find_windows(now)
        if today.day != self._today:
            self._today = today.day
            self.forget()
            for key in [key for key in self.used if key[1] not in (today.day, today.month)]:
                del self.used[key]

    def write_changes(self) -> None:
        """Write what changed, in the open transaction."""
        if self._changed:
            rows = [(*key, window.spent, window.held) for key, window in self._changed.items()]
            self.cursor.executemany(WRITE_WINDOW, rows)

    def confirm_changes(self) -> None:
        """Let readers see what changed, once it is committed."""
        self.used |= {key: window.spent + window.held for key, window in self._changed.items()}
        self._changed.clear()

    def drop_changes(self) -> None:
        """Write nothing of what changed: the transaction is rolled back."""
        self._changed.clear()

    # --- reading

    def load_window(self, key: WindowKey) -> Window:
        """Return a window's totals, to be changed in place: the commit writes them back."""
        window = self._windows.get(key)
        if window is None:
            query = "SELECT spent, held FROM windows WHERE key = ? AND window = ?"
            row = self.cursor.execute(query, key).fetchone()
            window = self._windows[key] = Window(*(row or (0, 0)))
        self._changed[key] = window
        return window

    def load_windows(self, key: str, began: float) -> Iterable[Window]:
        """Return the windows that a call counts in, to be changed in place: the commit writes them back."""
        day = int(began // SECONDS_PER_DAY)
        if (found := self._windows_of.get((key, day))) is None:
            found = self._windows_of[key, day] = {each: self.load_window(each) for each in list_windows(key, began)}
        self._changed |= found
        return found.values()

    def reload_used(self, key: str, now: float) -> None:
        """Read again what a tenant has used: another process may have written, or corrected a call."""
        today = find_windows(now)
        query = "SELECT key, window, spent + held FROM windows WHERE key IN (?, ?) AND window IN (?, ?)"
        rows = self.cursor.execute(query, (key, ALL_TENANTS, today.day, today.month))
        self.used |= {(name, window): used for name, window, used in rows}

    def read_spent(self, now: float) -> dict[WindowKey, int]:
        """Return what was spent in this day and month, in picodollars: from the file, else as far as known."""
        today = find_windows(now)
        known = {key: window.spent for key, window in self._windows.items()}
        try:
            rows = self.cursor.execute(
                "SELECT key, window, spent FROM windows WHERE window IN (?, ?)", (today.day, today.month)
            ).fetchall()
        except sqlite3.Error:
            return known
        return known | {(key, window): spent for key, window, spent in rows}

    def read_spent_in(self, keys: Collection[WindowKey] | None, now: float) -> dict[WindowKey, int]:
        """Return the picodollars spent in windows, as the file has them; None are all of this day and month."""
        if keys is None:
            today = find_windows(now)
            query = "SELECT key, window, spent FROM windows WHERE window IN (?, ?)"
            return {(k, w): spent for k, w, spent in self.cursor.execute(query, (today.day, today.month))}
        query = "SELECT spent FROM windows WHERE key = ? AND window = ?"
        rows = {key: self.cursor.execute(query, key).fetchone() for key in keys}
        return {key: row[0] if row else 0 for key, row in rows.items()}

    # --- calls

    def reserve(self, call: StartedCall) -> None:
        """Reserve the most that a call can cost."""
        reserve_in(self.load_windows(call.key, call.began), to_picodollars(call.max_cost))

    def settle(self, call: StartedCall, charged: int) -> None:
        """Replace a call's reservation by the picodollars that are charged."""
        settle_in(self.load_windows(call.key, call.began), to_picodollars(call.max_cost), charged)
