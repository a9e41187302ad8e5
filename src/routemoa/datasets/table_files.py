"""Write rows of one shape as a Parquet file, and read them again. Needs pyarrow (extra `batch`)."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from routemoa.core.errors import MissingExtra
from routemoa.datasets.jsonl import BadLine, RecordsError

__all__ = ["read_table", "require_parquet", "write_table"]

BATCH_ROWS = 256


def require_parquet() -> None:
    """Raise MissingExtra where Parquet files cannot be written here."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as e:
        raise MissingExtra("pyarrow, which writes Parquet files,", "batch") from e


def write_table(path: Path, rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """Write a Parquet file in one step, so that it is never there in part.

    Args:
        path: of the file.
        rows: their values by column.
        columns: name -> type, as pyarrow calls it: "int64", "double" or "string".

    Raises:
        RecordsError: it cannot be written.
    """
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema([(name, kind) for name, kind in columns.items()])
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    batch: list[Mapping[str, Any]] = []
    try:
        with pyarrow.parquet.ParquetWriter(part, schema, compression="zstd") as writer:
            for row in rows:
                batch.append(row)
                if len(batch) == BATCH_ROWS:
                    writer.write_batch(pyarrow.RecordBatch.from_pylist(batch, schema))
                    batch = []
            if batch:
                writer.write_batch(pyarrow.RecordBatch.from_pylist(batch, schema))
        with open(part, "rb") as written:
            os.fsync(written.fileno())
        part.replace(path)
    except (OSError, pyarrow.ArrowException) as e:
        raise RecordsError([BadLine(str(path), 0, f"cannot be written: {e}; choose another place")]) from e
    finally:
        part.unlink(missing_ok=True)


def read_table(
    path: Path, columns: Sequence[str] | None = None, *, required: Collection[str] = ()
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a Parquet file, with all or some columns. Raises RecordsError, also where one is missing."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            if missing := [name for name in required if name not in table.schema_arrow.names]:
                raise RecordsError([BadLine(str(path), 0, f"has no column {missing[0]}; remove that file")])
            for batch in table.iter_batches(BATCH_ROWS, columns=columns and list(columns)):
                yield from batch.to_pylist()
    except (OSError, pyarrow.ArrowException) as e:
        raise RecordsError([BadLine(str(path), 0, f"cannot be read: {' '.join(str(e).split())[:200]}")]) from e
