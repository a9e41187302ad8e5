"""Keeps the traces of answers, and what callers said of them, beside the ledger: in a file, or in the same database.

A thread of its own writes, so that neither an answer nor the ledger waits for it. A trace is compressed JSON; the
oldest are deleted after a number of days and beyond a size.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from random import random

import msgspec
from msgspec.structs import replace

from routemoa.core.tables.traces_table import TraceSettings
from routemoa.core.trace import Answer
from routemoa.ledger.connections import FIRST_WAIT, LONGEST_WAIT, Connection, begin
from routemoa.ledger.location import StoreLocation
from routemoa.ledger.schema import StoreError, raise_file_errors
from routemoa.ledger.trace_store.redaction import remove_texts
from routemoa.ledger.trace_store.trace_tables import (
    GRADERS,
    WRITE_FACTS,
    Describe,
    Feedback,
    StoredTrace,
    TraceFactsText,
    open_traces,
    prune,
    read_traces,
    to_trace,
    traces_path,
)

__all__ = ["GRADERS", "Feedback", "StoredTrace", "TraceFactsText", "TraceStore", "read_traces", "traces_path"]

LOG = logging.getLogger("routemoa.traces")
MAX_QUEUED = 1_000
"""Traces that wait to be written; more are dropped."""
BATCH = 100
"""Written in one transaction."""
MAX_WAIT = 5.0
"""Seconds that a reader waits for a trace that is being written."""
CLOSING_SECONDS = 15.0
"""For which closing waits for a store that does not answer."""
PRUNE_SECONDS = 60.0
"""Between two looks at what is too old or too much."""
MAX_TRACE_BYTES = 16 * 2**20
"""Of a trace before it is compressed; a larger one is not kept."""
LEVEL = 1
"""Of zlib: a third of the time of the default for a tenth more bytes."""

INSERT = (
    "INSERT INTO traces (id, at, tenant, method, choice, calls, cost, bytes, answer)"
    " VALUES (?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING"
)


class TraceStore:
    """Keeps traces. Writing never waits; reading waits for the disk or the server: call it in a thread.

    Args:
        path: the file, which is created where there is none, or the URL of the database.
        settings: what is kept.
        clock: seconds since the epoch.
        describe: finds what lists need of a trace, which is kept beside it; None leaves that to who lists them.

    Raises:
        StoreError: the store cannot be used.
    """

    def __init__(
        self,
        path: StoreLocation,
        settings: TraceSettings,
        clock: Callable[[], float] = time.time,
        *,
        describe: Describe | None = None,
    ) -> None:
        self.path = path
        self.settings = settings
        self.dropped = 0
        """Traces that were not kept since too many waited, or one was too large."""
        self._clock, self._describe = clock, describe
        self._lock = threading.Lock()
        self._connection: Connection | None = open_traces(path)
        self._is_closing = False
        self._queue: queue.Queue[StoredTrace | None] = queue.Queue(MAX_QUEUED)
        self._queued: set[str] = set()
        self._pruned = 0.0
        self._thread = threading.Thread(target=self._write_all, name="traces", daemon=True)
        self._thread.start()

    def add(self, id_: str, answer: Answer, tenant: str | None) -> None:
        """Keep the trace of an answer, or not, as the settings say; never waits."""
        if self.settings.sample < 1.0 and random() >= self.settings.sample:  # noqa: S311  (no secret)
            return
        self._queued.add(id_)
        try:
            self._queue.put_nowait(StoredTrace(id_, self._clock(), tenant, answer))
        except queue.Full:
            self._queued.discard(id_)
            self.dropped += 1

    def find(self, id_: str, tenant: str | None, *, everyone: bool = False) -> StoredTrace | None:
        """Return a trace with its feedback; None where there is none of this tenant, or of any. Raises StoreError."""
        if not _is_id(id_):
            return None
        self._await_written(id_)
        with self._transaction() as connection:
            row = connection.execute("SELECT id, at, tenant, answer FROM traces WHERE id = ?", (id_,)).fetchone()
            if row is None or (row[2] != tenant and not everyone):
                return None
            return to_trace(connection, row)

    def add_feedback(self, id_: str, tenant: str | None, feedback: Feedback) -> bool:
        """Keep what a caller said of its answer; return False where there is no such trace. Raises StoreError."""
        if not _is_id(id_):
            return False
        self._await_written(id_)
        with self._transaction() as connection:
            row = connection.execute("SELECT tenant FROM traces WHERE id = ?", (id_,)).fetchone()
            if row is None or row[0] != tenant:
                return False
            text = msgspec.json.encode(feedback).decode()
            connection.execute("INSERT INTO feedback (id, at, feedback) VALUES (?,?,?)", (id_, self._clock(), text))
            return True

    def add_facts(self, facts: Mapping[str, TraceFactsText]) -> None:
        """Keep what was found of traces, by their ids; those deleted by now are left out. Raises StoreError."""
        with self._transaction() as connection:
            connection.executemany(WRITE_FACTS, [(of.version, of.text, id_) for id_, of in facts.items()])

    def flush(self) -> None:
        """Wait until what was added so far is written; blocks."""
        self._queue.join()

    def close(self) -> None:
        """Write what waits and close the store; blocks. A second time does nothing."""
        self._is_closing = True
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join(CLOSING_SECONDS)
        if self._thread.is_alive():
            LOG.warning("%s: the store does not answer; traces that wait for it are not kept", self.path)
        else:
            with self._lock:
                self._disconnect()

    def _await_written(self, id_: str) -> None:
        """Wait while this trace is queued: a caller may name the answer that it got a moment ago."""
        end = time.monotonic() + MAX_WAIT
        while id_ in self._queued and time.monotonic() < end:
            time.sleep(0.002)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """Begin and commit a transaction, one at a time. Raises StoreError; a connection that is lost is made again."""
        with self._lock, raise_file_errors(self.path):
            try:
                self._connection = self._begin()
                yield self._connection
                self._connection.execute("COMMIT")
            except sqlite3.Error:
                if self._connection is not None:
                    with suppress(sqlite3.Error):
                        self._connection.execute("ROLLBACK")
                raise
            except BaseException:
                self._disconnect()
                raise

    def _begin(self) -> Connection:
        """Begin a transaction; on a new connection where that of before is lost. Raises StoreError."""
        if self._connection is not None:
            try:
                begin(self._connection)
                return self._connection
            except StoreError:
                self._disconnect()
        connection = open_traces(self.path)
        begin(connection)
        return connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _write_all(self) -> None:
        """Write until the end, in batches."""
        failure: str | None = None
        while True:
            batch = [self._queue.get()]
            while len(batch) < BATCH and batch[-1] is not None:
                try:
                    batch.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            traces = [trace for trace in batch if trace is not None]
            try:
                self._write_patiently(traces)
            except StoreError as e:
                self.dropped += len(traces)
                if str(e) != failure:
                    LOG.warning("%s; meanwhile traces are not kept", e)
                failure = str(e)
            else:
                if failure is not None:
                    LOG.warning("%s: traces are kept again; %d in all were not", self.path, self.dropped)
                failure = None
            finally:
                self._queued.difference_update(trace.id for trace in traces)
                for _ in batch:
                    self._queue.task_done()
            if batch[-1] is None:
                return

    def _write_patiently(self, traces: Sequence[StoredTrace]) -> None:
        """Write a batch; wait for a server that is away, while other traces are queued. Raises StoreError."""
        wait = FIRST_WAIT
        while True:
            try:
                return self._write(traces)
            except StoreError as e:
                if not getattr(e, "temporary", False) or self._is_closing:
                    raise
                if wait == FIRST_WAIT:
                    LOG.warning("%s; traces wait for it", e)
            time.sleep(wait)
            wait = min(LONGEST_WAIT, 2 * wait)

    def _write(self, traces: Sequence[StoredTrace]) -> None:
        """Write a batch, and delete what is too old or too much from time to time. Raises StoreError."""
        packed = [found for trace in traces if (found := self._pack(trace)) is not None]
        rows, facts = [row for row, _ in packed], [found for _, found in packed if found is not None]
        now = self._clock()
        with self._transaction() as connection:
            if rows:
                connection.executemany(INSERT, rows)
            if facts:
                connection.executemany(WRITE_FACTS, facts)
            if abs(now - self._pruned) >= PRUNE_SECONDS:
                self._pruned = now
                prune(connection, self.settings, now)

    def _pack(self, stored: StoredTrace) -> tuple[tuple[object, ...], tuple[object, ...] | None] | None:
        """Return the row of a trace, and that of its facts; None where it is too large to be kept."""
        if not self.settings.texts:
            stored = replace(stored, answer=remove_texts(stored.answer))
        data = msgspec.json.encode(stored.answer)
        if len(data) > MAX_TRACE_BYTES:
            self.dropped += 1
            return None
        packed = zlib.compress(data, LEVEL)
        trace = stored.answer.trace
        about = (trace.method, trace.choice, trace.calls, trace.cost)
        found = None if self._describe is None else self._describe(stored)
        size = len(packed) + (0 if found is None else len(found.text))
        row = (stored.id, stored.at, stored.tenant, *about, size, packed)
        return row, None if found is None else (found.version, found.text, stored.id)


def _is_id(text: str) -> bool:
    """Return whether a text can be the id of a response: some characters are in no column of a database."""
    return text.isprintable() and text.isascii()
