"""Reads the rows of CSV and Parquet files of questions. Parquet needs pyarrow (extra `parquet`)."""

from __future__ import annotations

import codecs
import csv
import gzip
import os
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO, cast

from msgspec import Struct

from routemoa.core.errors import MissingExtra
from routemoa.core.files.file_kind import detect_encoding
from routemoa.datasets.columns import ColumnMapping, convert_row, count_known, map_columns
from routemoa.datasets.file_heads import GZIP_MAGIC, read_head
from routemoa.datasets.jsonl import BadLine

__all__ = ["TableRow", "read_csv_rows", "read_parquet_rows"]

DELIMITERS = ",;\t|"
MAX_CELL = 1 << 24
"""Characters of the longest cell, so that a quote without its end does not read a whole file as one."""
BLOCK = 1 << 20
BATCH_ROWS = 1024

OnBad = Callable[[BadLine], None]
Say = Callable[[str], None]


class TableRow(Struct, frozen=True):
    """A row of a table of questions."""

    line: int
    """Where it begins in the file, or its row in a Parquet file; counts from 1."""
    number: int
    """Of the row, without the header; counts from 1."""
    fields: dict[str, Any]
    """Of a question, or of a row of GSM8K or ARC."""


def read_csv_rows(file: str | os.PathLike[str], on_bad: OnBad, say: Say) -> Iterator[TableRow]:
    """Yield the rows of a CSV file, plain or gzip: comma, semicolon, tab or bar; UTF-8, UTF-16 or Windows-1252.

    Args:
        file: with a header.
        on_bad: called with each row that cannot be read.
        say: called once with a line about renamed and ignored columns, and about the encoding.
    """
    name, line = os.fspath(file), 0
    csv.field_size_limit(MAX_CELL)
    try:
        encoding = _find_encoding(file)
        if encoding == "cp1252":
            say(f"{name}: not UTF-8; read as Windows-1252")
        with _open_text(file, encoding) as text:
            delimiter, skipped = _find_delimiter(text)
            reader = csv.reader(text, delimiter=delimiter, strict=True)
            header: list[str] | None = None
            mapping = ColumnMapping({}, ())
            number = 0
            while True:
                line = reader.line_num + skipped + 1
                cells = next(reader, None)
                if cells is None:
                    return
                if not any(cell.strip() for cell in cells):
                    continue
                if header is None:
                    header, mapping = cells, _map_header(cells, name, line, on_bad, say)
                    if mapping.fault:
                        return
                    continue
                number += 1
                if len(cells) > len(header) and any(cell.strip() for cell in cells[len(header) :]):
                    hint = "put texts that hold the separator into double quotes"
                    on_bad(BadLine(name, line, f"has {len(cells)} cells, the header {len(header)}; {hint}"))
                    continue
                row = dict(zip(header, cells, strict=False))
                yield TableRow(line, number, convert_row(row, mapping))
    except csv.Error as e:
        on_bad(BadLine(name, line, f"not valid CSV, nothing after it was read: {e}; is a double quote left open?"))
    except UnicodeDecodeError as e:
        on_bad(BadLine(name, line + 1, f"not {e.encoding} text, nothing after it was read: {e.reason}"))
    except (EOFError, zlib.error, gzip.BadGzipFile) as e:
        on_bad(BadLine(name, line + 1, f"damaged gzip data, nothing after it was read: {e}"))
    except OSError as e:
        on_bad(BadLine(name, 0, f"cannot be read: {e.strerror or e}"))


def read_parquet_rows(file: str | os.PathLike[str], on_bad: OnBad, say: Say) -> Iterator[TableRow]:
    """Yield the rows of a Parquet file; the arguments are those of `read_csv_rows`. Raises MissingExtra."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as e:
        raise MissingExtra("pyarrow, which reads Parquet files,", "parquet") from e
    name, number = os.fspath(file), 0
    try:
        with pyarrow.parquet.ParquetFile(name) as table:
            mapping = _map_header(table.schema_arrow.names, name, 0, on_bad, say)
            if mapping.fault:
                return
            for batch in table.iter_batches(batch_size=BATCH_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield TableRow(number, number, convert_row(row, mapping))
    except (pyarrow.ArrowException, OSError) as e:
        reason = " ".join(str(e).split())[:200]
        on_bad(BadLine(name, 0, f"cannot be read as Parquet after row {number:,}: {reason}"))


def _map_header(columns: Sequence[str], name: str, line: int, on_bad: OnBad, say: Say) -> ColumnMapping:
    """Return which column holds what; report what is wrong with them, and say which have other names."""
    mapping = map_columns(columns)
    if mapping.fault:
        on_bad(BadLine(name, line, mapping.fault))
    elif said := mapping.describe():
        say(f"{name}: {said}")
    return mapping


def _find_encoding(file: str | os.PathLike[str]) -> str:
    """Return the encoding of a text: by its first bytes, else UTF-8 where all of it is that, else Windows-1252."""
    if encoding := detect_encoding(read_head(file)):
        return encoding
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with open(file, "rb") as raw:
            source = gzip.GzipFile(fileobj=raw) if raw.peek(2)[:2] == GZIP_MAGIC else raw
            while block := source.read(BLOCK):
                decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


@contextmanager
def _open_text(file: str | os.PathLike[str], encoding: str) -> Iterator[TextIO]:
    """Open a plain or gzip file as text, its line ends left to the reader of CSV."""
    with open(file, "rb") as raw:
        is_gzip = raw.peek(2)[:2] == GZIP_MAGIC
    errors = "replace" if encoding == "cp1252" else "strict"  # it leaves five bytes without a meaning
    opener = gzip.open if is_gzip else open
    with opener(file, "rt", encoding=encoding, errors=errors, newline="") as text:
        yield cast(TextIO, text)


def _find_delimiter(text: TextIO) -> tuple[str, int]:
    """Return the separator of the header and how many lines stand before the header; `text` is left there.

    The separator is the one that gives the most known names, then the most columns. A line "sep=;", as Excel writes it,
    decides.
    """
    header = text.readline()
    if told := re.fullmatch(r"\ufeff?\"?sep=(.)\"?\s*", header):
        return told[1], 1
    text.seek(0)

    def rank(delimiter: str) -> tuple[int, int]:
        try:
            columns = next(csv.reader([header], delimiter=delimiter), [])
        except csv.Error:
            return 0, 0
        return count_known(columns), len(columns)

    return max(DELIMITERS, key=rank), 0
