"""Reads the traces that are kept piece by piece: which there are, some of them, and what was said of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

import msgspec

from routemoa.core.trace import Answer
from routemoa.ledger.connections import Connection
from routemoa.ledger.location import StoreLocation
from routemoa.ledger.schema import raise_file_errors
from routemoa.ledger.trace_store.trace_tables import Feedback, StoredTrace, open_traces_reading

__all__ = ["TraceCatalog", "open_catalog"]


class TraceCatalog:
    """The traces of a store, while its file is open for reading. All methods block.

    Args:
        connection: to the store.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list_numbers(self, limit: int) -> list[int]:
        """Return the numbers of the newest traces, the newest first."""
        rows = self._connection.execute("SELECT number FROM traces ORDER BY at DESC LIMIT ?", (limit,))
        return [number for (number,) in rows]

    def read(self, numbers: Sequence[int]) -> list[tuple[int, StoredTrace]]:
        """Return these traces, without their feedback; those that are deleted by now are missing."""
        marks = ",".join("?" * len(numbers))
        query = f"SELECT number, id, at, tenant, answer FROM traces WHERE number IN ({marks})"  # noqa: S608
        return [
            (number, StoredTrace(id_, at, tenant, msgspec.json.decode(zlib.decompress(packed), type=Answer)))
            for number, id_, at, tenant, packed in self._connection.execute(query, tuple(numbers))
        ]

    def read_facts(self, numbers: Sequence[int], version: int) -> list[tuple[int, str]]:
        """Return what was found of these traces by the rules of a version; of others it is missing."""
        marks = ",".join("?" * len(numbers))
        query = f"SELECT number, facts FROM trace_facts WHERE number IN ({marks}) AND version = ?"  # noqa: S608
        return [(number, facts) for number, facts in self._connection.execute(query, (*numbers, version))]

    def list_feedback(self, after: int) -> list[tuple[int, str, Feedback]]:
        """Return what was said after the feedback of this number: its number, the trace's id, and the feedback."""
        query = "SELECT number, id, feedback FROM feedback WHERE number > ? ORDER BY number"
        rows = self._connection.execute(query, (after,))
        return [(number, id_, msgspec.json.decode(said, type=Feedback)) for number, id_, said in rows]


@contextmanager
def open_catalog(path: StoreLocation) -> Iterator[TraceCatalog | None]:
    """Open the traces of a store for reading; None where there are none.

    Raises:
        StoreError: the store cannot be read.
    """
    connection = open_traces_reading(path)
    if connection is None:
        yield None
        return
    with closing(connection), raise_file_errors(path):
        yield TraceCatalog(connection)
