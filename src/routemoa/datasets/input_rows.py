"""Reads the rows of a large input one at a time, each as JSON: lines of JSON, CSV or Parquet, of one file or many.

Rows have one order and a number each, so that a job can go on where it was stopped. Parquet needs pyarrow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec import Struct

from routemoa.core.errors import MissingExtra
from routemoa.core.files.file_kind import detect_kind, explain_wrong_file
from routemoa.datasets.columns import convert_row, map_columns
from routemoa.datasets.input_files import local_copy, open_input, peek_input, show_input
from routemoa.datasets.jsonl import BadLine, read_open_lines
from routemoa.datasets.question_tables import read_csv_rows

__all__ = ["InputFiles", "InputRow"]

BATCH_ROWS = 256
LINES = ("json lines", "empty", "questions", "records", "messages", "traces")
BOM = b"\xef\xbb\xbf"
LINE_NAMES = re.compile(r"\.(jsonl|ndjson)(\.gz)?$", re.I)
NO_LINES = ("parquet", "zip", "binary")
"""Kinds of files that a name does not make lines of JSON."""
ENVELOPE = ("body", "messages")
"""Columns of a Parquet file of requests; they hold JSON as text, or nested values."""

Say = Callable[[str], None]


class InputRow(Struct, frozen=True):
    """A row, or why there is none."""

    number: int
    """In the whole input, from 0 on."""
    file: str
    line: int
    """Of the file, from 1 on; 0 is the file as a whole."""
    data: bytes = b""
    """The row as JSON."""
    fault: str | None = None

    @property
    def source(self) -> str:
        """The file as it may be shown."""
        return show_input(self.file)

    @property
    def place(self) -> str:
        """File and line."""
        return f"{self.source}:{self.line}" if self.line else self.source


class InputFiles(Struct, frozen=True):
    """The files of an input, whose rows have one order and a number each."""

    files: tuple[str, ...]
    """As `list_input_files` gives them."""
    line_limit: int | None = None
    """Bytes of a line; with it every file is read as plain lines of JSON, as for what callers of a server sent."""

    def rows(self, say: Say = lambda _: None) -> Iterator[InputRow]:
        """Yield the rows; a file or a line that cannot be read is a row with a `fault`.

        Args:
            say: called with a line about columns that stand for others or are ignored.

        Raises:
            MissingExtra: a Parquet file or a URL, without its extra.
        """
        number = 0
        for file in self.files:
            for row in _read_file(file, say) if self.line_limit is None else _read_plain(file, self.line_limit):
                yield msgspec.structs.replace(row, number=number)
                number += 1


def _read_plain(file: str, limit: int) -> Iterator[InputRow]:
    """Yield the lines of a file, none longer than the limit is held in memory."""
    with open(file, "rb") as raw:
        line = 0
        while data := raw.readline(limit + 1):
            line += 1
            data = data.removeprefix(BOM) if line == 1 else data
            if len(data) > limit and not data.endswith(b"\n"):
                while (rest := raw.readline(limit)) and not rest.endswith(b"\n"):
                    pass
                yield InputRow(0, file, line, fault=f"the line is longer than {limit} bytes")
            elif data.strip():
                yield InputRow(0, file, line, data)


def _read_file(file: str, say: Say) -> Iterator[InputRow]:
    bad: list[BadLine] = []
    kind = detect_kind(peek_input(file), file)
    if kind.kind == "parquet":
        rows = _read_parquet(file, bad.append, say)
    elif kind.kind in LINES or (LINE_NAMES.search(file) and kind.kind not in NO_LINES):
        rows = _read_lines(file, bad.append)
    elif kind.kind == "csv":
        rows = _read_csv(file, bad.append, say)
    else:
        yield InputRow(0, file, 0, fault=explain_wrong_file(kind, "questions", show_input(file)))
        return
    for row in rows:
        yield from _take_faults(bad)
        yield row
    yield from _take_faults(bad)


def _take_faults(bad: list[BadLine]) -> Iterator[InputRow]:
    """Yield what could not be read since the last row."""
    while bad:
        line = bad.pop(0)
        yield InputRow(0, line.file, line.line, fault=line.reason)


def _read_lines(file: str, on_bad: Callable[[BadLine], None]) -> Iterator[InputRow]:
    try:
        with open_input(file) as raw:
            for line, data in read_open_lines(raw, file, on_bad):
                yield InputRow(0, file, line, data)
    except OSError as e:
        on_bad(BadLine(file, 0, f"cannot be read: {e.strerror or e}"))


def _read_csv(file: str, on_bad: Callable[[BadLine], None], say: Say) -> Iterator[InputRow]:
    try:
        with local_copy(file) as path:
            bad: Callable[[BadLine], None] = lambda b: on_bad(msgspec.structs.replace(b, file=file))  # noqa: E731
            for row in read_csv_rows(path, bad, lambda text: say(text.replace(path, show_input(file)))):
                yield InputRow(0, file, row.line, msgspec.json.encode(row.fields))
    except OSError as e:
        on_bad(BadLine(file, 0, f"cannot be read: {e.strerror or e}"))


def _read_parquet(file: str, on_bad: Callable[[BadLine], None], say: Say) -> Iterator[InputRow]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as e:
        raise MissingExtra("pyarrow, which reads Parquet files,", "batch") from e
    line = 0
    try:
        with open_input(file) as raw, pyarrow.parquet.ParquetFile(raw) as table:
            names = table.schema_arrow.names
            mapping = map_columns(names)
            is_request = any(name in names for name in ENVELOPE)
            if not is_request and mapping.fault:
                on_bad(BadLine(file, 0, mapping.fault))
                return
            if not is_request and (said := mapping.describe()):
                say(f"{show_input(file)}: {said}")
            for batch in table.iter_batches(batch_size=BATCH_ROWS):
                for values in batch.to_pylist():
                    line += 1
                    fields = _read_envelope(values) if is_request else convert_row(values, mapping)
                    yield InputRow(0, file, line, msgspec.json.encode(fields, enc_hook=str))
    except (pyarrow.ArrowException, OSError) as e:
        reason = " ".join(str(e).split())[:200]
        on_bad(BadLine(file, 0, f"cannot be read as Parquet after row {line:,}: {reason}"))


def _read_envelope(values: dict[str, Any]) -> dict[str, Any]:
    """Return a row of requests without its empty cells, which Parquet has for every field that some row has."""
    fields = _drop_empty(values)
    for name in ENVELOPE:
        if isinstance(text := fields.get(name), str):
            try:
                fields[name] = msgspec.json.decode(text)
            except msgspec.DecodeError:
                continue  # the row's own check says what is wrong
    plain: dict[str, Any] = fields
    return plain


def _drop_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _drop_empty(part) for name, part in value.items() if part is not None}
    return [_drop_empty(part) for part in value] if isinstance(value, list) else value
