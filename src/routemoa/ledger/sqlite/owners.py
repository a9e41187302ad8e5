"""Find the open calls of dead processes among millions: each process notes the first id that a call of it may have.

An index of the open calls would be changed by every call, twice. This row is written some times a minute.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from typing import Any

__all__ = ["OwnerRow", "find_open_calls", "forget_owners"]

WRITE_OWNER = "INSERT OR REPLACE INTO owners VALUES (?, ?)"
FIND_OPEN_CALLS = "SELECT id, began, key, most FROM calls WHERE id >= ? AND owner = ? AND outcome = 'open'"


class OwnerRow:
    """This process in the table `owners`: its row is there before its first call, and in the same transaction.

    Args:
        connection: that writes the calls.
        owner: the id of this process.
    """

    def __init__(self, connection: sqlite3.Connection, owner: str) -> None:
        self._connection, self._owner = connection, owner
        self._first: int | None = None
        """As the file has it; None is unknown."""

    def cover(self, number: int) -> None:
        """Note that a call has this id. Ids are given again once newer calls are taken back."""
        if self._first is None or number < self._first:
            self._write(number)

    def advance(self, number: int) -> None:
        """Note that no open call has a lower id."""
        if self._first is not None and number > self._first:
            self._write(number)

    def forget(self) -> None:
        """Write the row again with the next call: what was written is rolled back."""
        self._first = None

    def _write(self, number: int) -> None:
        self._connection.execute(WRITE_OWNER, (self._owner, number))
        self._first = number


def find_open_calls(
    connection: sqlite3.Connection, alive: Collection[str], dead: Collection[str]
) -> Iterator[tuple[Any, ...]]:
    """Yield id, start, key and most of the open calls of all processes that are not alive.

    Args:
        connection: in a transaction.
        alive: the processes that are.
        dead: processes that are not, even where they have no row: earlier versions write none.
    """
    first_of = dict(connection.execute("SELECT owner, first FROM owners").fetchall())
    for owner in {*first_of, *dead}.difference(alive):
        yield from connection.execute(FIND_OPEN_CALLS, (first_of.get(owner, 0), owner)).fetchall()


def forget_owners(connection: sqlite3.Connection, alive: Collection[str]) -> None:
    """Delete the rows of all processes that are not alive, whose calls are settled."""
    marks = ", ".join("?" * len(alive))
    connection.execute(f"DELETE FROM owners WHERE owner NOT IN ({marks})", tuple(alive))  # noqa: S608
