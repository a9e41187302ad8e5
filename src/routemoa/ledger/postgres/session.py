"""The one connection of a process that writes the ledger: batches, its lease, and the calls of processes that died.

A process counts as alive until its lease ends, which each transaction renews, by the server's clock. Whatever was open
then is settled at the most that it can have cost. A process that was only away corrects that when it is back.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Collection
from contextlib import suppress
from os import getpid
from typing import TYPE_CHECKING, Any

from routemoa.core.access.tenants import ALL_TENANTS, find_windows
from routemoa.ledger.budgets.budget_check import TenantBudgets, WindowKey, list_windows, settle_in
from routemoa.ledger.location import StoreUrl
from routemoa.ledger.postgres.batch import Batch, Owner, WindowsMissing, lock_windows, write_windows
from routemoa.ledger.postgres.driver import PostgresError, raise_store_errors
from routemoa.ledger.postgres.opening import open_database
from routemoa.ledger.schema import StoreError
from routemoa.ledger.steps import to_picodollars

if TYPE_CHECKING:
    import psycopg

__all__ = ["LedgerSession"]

LEASE_SECONDS = 20.0
FORGET_OWNERS = "DELETE FROM owners WHERE expires < clock_timestamp() - interval '30 days'"
ALIVE = "EXISTS (SELECT FROM owners o WHERE o.id = calls.owner AND o.expires > clock_timestamp())"
IS_SETTLED_IN = "clock_timestamp() > pg_postmaster_start_time() + %s * interval '1 second'"
"""A server that was away lets every process renew its lease first."""
FIND_LOST = f"SELECT id, began, key, most FROM calls WHERE outcome = 'open' AND NOT {ALIVE} AND {IS_SETTLED_IN}"  # noqa: S608
FIND_OWN = "SELECT id, began, key, most FROM calls WHERE outcome = 'open' AND owner = %s"
LOCK_LOST = " ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED"
MARK_LOST = "UPDATE calls SET charged = most, outcome = 'lost' WHERE id = ANY(%s)"
MAKE_WINDOWS = (
    "INSERT INTO windows SELECT k, v, 0, 0 FROM unnest(%s::text[], %s::text[]) AS u (k, v) ORDER BY k, v "
    "ON CONFLICT DO NOTHING"
)
READ_USED = 'SELECT key, "window", spent + held FROM windows WHERE key = ANY(%s) AND "window" IN (%s, %s)'
JOIN = (
    "INSERT INTO owners (id, expires, batch) VALUES (%s, clock_timestamp() + %s * interval '1 second', 0) "
    "ON CONFLICT (id) DO UPDATE SET expires = excluded.expires RETURNING batch"
)


class LedgerSession:
    """Connects when it is used; after an error that loses the connection it connects again. For one thread.

    Args:
        url: of the database.
        budgets: those that are kept.
        clock: returns seconds since the epoch.
    """

    def __init__(self, url: StoreUrl, budgets: TenantBudgets, clock: Callable[[], float]) -> None:
        self.used: dict[WindowKey, int] = {}
        """Picodollars spent and reserved, as last seen; may be read from any thread."""
        self._url, self._budgets, self._clock = url, budgets, clock
        self._owner = Owner(f"{socket.gethostname()[:64]}-{getpid()}-{secrets.token_hex(4)}", LEASE_SECONDS)
        self._raw: psycopg.Connection[Any] | None = None
        self._today = ""
        self._made: set[WindowKey] = set()  # windows that are in the table

    def connect(self) -> int:
        """Connect where there is no connection; return the number of the last batch that was committed.

        A transaction of before that the server is still working at is waited for. Raises StoreError.
        """
        if self._raw is None:
            connection = open_database(self._url)
            assert connection is not None  # noqa: S101  (it is made where there is none)
            self._raw = connection.raw
        with raise_store_errors(self._url):
            row = self._raw.execute(JOIN, (self._owner.id, self._owner.lease)).fetchone()
        return int(row[0]) if row else 0

    def disconnect(self) -> None:
        """Drop the connection; a transaction that is open is rolled back."""
        raw, self._raw = self._raw, None
        if raw is not None:
            raw.close()

    @property
    def is_connected(self) -> bool:
        """Return whether there is a connection, as far as is known."""
        return self._raw is not None and not self._raw.closed

    def write(self, batch: Batch) -> None:
        """Write a batch. Raises StoreError: nothing is written, or that is unknown where `batch.was_sent`."""
        if not batch.steps:
            return
        raw = self._connection()
        with raise_store_errors(self._url):
            self._make_windows(raw, batch)
            try:
                batch.write(raw, self._owner, self._budgets, self._clock)
            except WindowsMissing:  # they were deleted
                raw.execute("ROLLBACK")
                self._made.clear()
                self._make_windows(raw, batch)
                batch.write(raw, self._owner, self._budgets, self._clock)
        self.show(batch)

    def show(self, batch: Batch) -> None:
        """Let readers see the totals of a batch that is committed."""
        self._see({key: window.spent + window.held for key, window in batch.windows.items()})

    def roll_back(self) -> None:
        """End the transaction that failed; where that fails, too, end the connection."""
        try:
            with raise_store_errors(self._url):
                self._connection().execute("ROLLBACK")
        except StoreError:
            self.disconnect()

    def renew_lease(self) -> None:
        """Count as alive for another while. Raises StoreError."""
        self.connect()

    def reload_used(self, names: Collection[str]) -> None:
        """Read again what tenants, and all together, have used this day and month. Raises StoreError."""
        now = find_windows(self._clock())
        with raise_store_errors(self._url):
            rows = self._connection().execute(READ_USED, ([*names, ALL_TENANTS], now.day, now.month)).fetchall()
        self._see({(key, window): used for key, window, used in rows})

    def settle_lost(self) -> int:
        """Settle what processes whose lease has ended left open, at its most; return how many. Raises StoreError."""
        return self._settle(FIND_LOST, (self._owner.lease,))

    def leave(self) -> None:
        """Settle what this process left open, as if it had died, and count as gone. Raises StoreError."""
        while self._settle(FIND_OWN, (self._owner.id,)):
            pass
        with raise_store_errors(self._url):
            self._connection().execute("DELETE FROM owners WHERE id = %s", (self._owner.id,))
            self._connection().execute(FORGET_OWNERS)

    def _settle(self, query: Any, values: tuple[Any, ...]) -> int:
        raw = self._connection()
        with raise_store_errors(self._url):
            if not raw.execute(f"SELECT EXISTS ({query})", values).fetchone()[0]:  # type: ignore[index]
                return 0
            raw.execute("BEGIN")
            try:
                rows = raw.execute(query + LOCK_LOST, values).fetchall()
                windows = lock_windows(raw, list({w for _, began, key, _ in rows for w in list_windows(key, began)}))
                for _, began, key, most in rows:
                    charged = to_picodollars(most)
                    settle_in([windows[window] for window in list_windows(key, began)], charged, charged)
                write_windows(raw, windows)
                raw.execute(MARK_LOST, ([row[0] for row in rows],))
                raw.execute("COMMIT")
            except BaseException:
                with suppress(Exception):
                    raw.execute("ROLLBACK")
                raise
        return len(rows)

    def _make_windows(self, raw: psycopg.Connection[Any], batch: Batch) -> None:
        """Make the windows of a batch that are not there; outside of its transaction, which locks all in one order."""
        if missing := [key for key in batch.window_keys() if key not in self._made]:
            raw.execute(MAKE_WINDOWS, ([k for k, _ in missing], [w for _, w in missing]))
            self._made.update(missing)

    def _see(self, used: dict[WindowKey, int]) -> None:
        """Let readers see totals; those of former days and months are forgotten."""
        today = find_windows(self._clock())
        kept = self.used
        if today.day != self._today:
            self._today = today.day
            self._made.clear()
            kept = {key: value for key, value in kept.items() if key[1] in (today.day, today.month)}
        self.used = kept | used

    def _connection(self) -> psycopg.Connection[Any]:
        if self._raw is None:
            raise PostgresError(f"{self._url}: there is no connection", lost=True, temporary=True)
        return self._raw
