"""The results of a job on disk: one for each row, in results.jsonl or Parquet shards, or in failed.jsonl.

These files are what is known of finished rows: a row is done if it has a line. A line is written in one step.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from routemoa.core.trace import Trace
from routemoa.datasets.appender import Appender
from routemoa.datasets.jsonl import BadLine, RecordsError, read_lines
from routemoa.datasets.table_files import read_table, write_table

__all__ = ["FAILED", "RESULTS", "ResultFormat", "ResultStore", "RowResult"]

RESULTS = "results.jsonl"
FAILED = "failed.jsonl"
SHARD = "results-*.parquet"
SHARD_ROWS = 5_000
MAX_ROWS = 10**9
"""Of a job: each takes a byte of memory."""
COLUMNS = {
    "row": "int64",
    "id": "string",
    "task": "string",
    "answer": "string",
    "cost": "double",
    "seconds": "double",
    "calls": "int64",
    "model": "string",
    "stop": "string",
    "trace": "string",
    "response": "string",
}
"""Of a Parquet shard; `trace` and `response` hold JSON."""

ResultFormat = Literal["jsonl", "parquet"]


class RowResult(Struct, frozen=True):
    """What came of a row: an answer, or an error."""

    row: int
    """Its number in the input, from 0 on."""
    id: str
    """Its `custom_id`, or the id of its question."""
    task: str | None = None
    """Of a question or a record."""
    model: str | None = None
    """The method or model that answered."""
    answer: str | None = None
    cost: float | None = 0.0
    """Dollars; None is unknown."""
    seconds: float | None = None
    calls: int = 0
    stop: str | None = None
    """Why no more models were called."""
    error: dict[str, Any] | None = None
    """`message`, `type`, `param` and `code`, as the server answers; None where there is an answer."""
    status: int = 200
    """The HTTP status that the server would answer with; 0 for a row that is no request."""
    place: str | None = None
    """File and line of a row that failed."""
    trace: Trace | None = None
    response: dict[str, Any] | None = None
    """The body of the response, for a row of an OpenAI batch file."""


class _Line(Struct):
    """What each line has: whoever edits a file by hand is told what is missing before a row is answered."""

    row: Annotated[int, Meta(ge=0, lt=MAX_ROWS)]
    id: str


class _Answered(_Line):
    trace: dict[str, msgspec.Raw] | None
    response: dict[str, msgspec.Raw] | None


class _Reason(Struct):
    message: str
    type: str | None
    code: str | None


class _Failed(_Line):
    error: _Reason
    status: int


class ResultStore:
    """Writes results, and knows which rows have one; one process at a time.

    Args:
        folder: of the job.
        form: of the results; those that failed are always in failed.jsonl.
        repeats_failed: rows that failed have no result. Their lines stay until `drop_failures`.

    Raises:
        RecordsError: a file cannot be read or written.
    """

    def __init__(self, folder: Path, form: ResultFormat = "jsonl", *, repeats_failed: bool = False) -> None:
        self.folder, self._form = folder, form
        self._done = bytearray()
        self.answered = 0
        self.failed = 0
        self._failures = Appender(folder / FAILED)  # its lock is the job's: results.jsonl comes and goes with shards
        try:
            for path in self._shards():
                for row in read_table(path, ["row"], required=COLUMNS):
                    self._mark(row["row"], path)
            self._drop_if_sharded()
            self._results = Appender(folder / RESULTS)  # repairs a line that was cut short before anything is read
            try:
                self._tail = self._read_done(RESULTS, _Answered)
                self.answered = self._done.count(1)
                self.failed = 0 if repeats_failed else self._read_done(FAILED, _Failed)
            except BaseException:
                self._results.close()
                raise
        except BaseException:
            self._failures.close()
            raise

    @property
    def done(self) -> bytes:
        """A byte for each row: 1 where it has a result."""
        return bytes(self._done)

    def has(self, row: int) -> bool:
        """Return whether a row has a result."""
        return row < len(self._done) and self._done[row] == 1

    def write(self, result: RowResult) -> None:
        """Write the result of a row that has none. Raises RecordsError."""
        self.write_line(result.row, msgspec.json.encode(result), is_failure=result.error is not None)

    def write_line(self, row: int, line: bytes, *, is_failure: bool) -> None:
        """Write a result that is encoded already. Raises RecordsError."""
        (self._failures if is_failure else self._results).write(msgspec.Raw(line))
        self._mark(row, self.folder)
        if is_failure:
            self.failed += 1
            return
        self.answered += 1
        self._tail += 1
        if self._form == "parquet" and self._tail >= SHARD_ROWS:
            self._seal()

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield the answered rows as they are in results.jsonl."""
        for path in self._shards():
            for row in read_table(path):
                yield _from_columns(row)
        yield from _read(self.folder / RESULTS)

    def read_failed(self) -> Iterator[dict[str, Any]]:
        """Yield the rows that failed."""
        yield from _read(self.folder / FAILED)

    def drop_failures(self) -> None:
        """Remove the lines of rows that failed before: they are answered again now."""
        self._failures.clear()

    def close(self) -> None:
        """Close the files; with Parquet, write what is left as the last shard."""
        try:
            if self._form == "parquet" and self._tail:
                self._seal()
        finally:
            self._results.close()
            if self._form == "parquet" and not self._tail:
                (self.folder / RESULTS).unlink(missing_ok=True)
            self._failures.close()  # from here on another process may have the job

    def _seal(self) -> None:
        """Turn results.jsonl into a shard. Where the process ends in between, the shard counts."""
        path = self.folder / SHARD.replace("*", f"{len(self._shards()):05d}")
        write_table(path, map(_to_columns, _read(self.folder / RESULTS)), COLUMNS)
        self._results.close()
        (self.folder / RESULTS).unlink()
        self._results, self._tail = Appender(self.folder / RESULTS), 0

    def _shards(self) -> list[Path]:
        return sorted(self.folder.glob(SHARD))

    def _drop_if_sharded(self) -> None:
        """Remove a results.jsonl whose rows are a shard already."""
        path = self.folder / RESULTS
        first = next(_read_numbers(path, _Answered), None) if path.exists() else None
        if first is not None and self.has(first):
            path.unlink()

    def _read_done(self, name: str, type: type[_Line]) -> int:
        count = 0
        path = self.folder / name
        for row in _read_numbers(path, type):
            self._mark(row, path)
            count += 1
        return count

    def _mark(self, row: int, path: Path) -> None:
        if row >= len(self._done):
            self._done.extend(bytes(max(row + 1 - len(self._done), 4096)))
        if self._done[row]:
            raise RecordsError([BadLine(str(path), 0, f"row {row} has two results; remove one")])
        self._done[row] = 1


def _read_numbers(path: Path, type: type[_Line]) -> Iterator[int]:
    """Yield the numbers of the rows of a file, each line checked. Raises RecordsError."""
    for number, line in read_lines(path, _raise):
        try:
            row = msgspec.json.decode(line, type=type).row
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
            reason = str(e).replace("`", "'")
            raise RecordsError(
                [BadLine(str(path), number, f"{reason}; remove that line, its row is done again")]
            ) from e
        yield row


def _read(path: Path) -> Iterator[dict[str, Any]]:
    for _, line in read_lines(path, _raise):
        yield msgspec.json.decode(line)


def _raise(bad: BadLine) -> None:
    raise RecordsError([bad])


def _to_columns(row: dict[str, Any]) -> dict[str, Any]:
    nested = [name for name in ("trace", "response") if row[name] is not None]
    packed: dict[str, Any] = {name: msgspec.json.encode(row[name]).decode() for name in nested}
    return {**row, **packed}


def _from_columns(row: dict[str, Any]) -> dict[str, Any]:
    packed = {name: msgspec.json.decode(row[name]) for name in ("trace", "response") if row.get(name)}
    return row | packed
