"""The `[batches]` table of a pool file: whether `routemoa serve` takes batches, and how large they may be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from routemoa.core.files.toml import check_range, parse_table

__all__ = ["BatchSettings", "parse_batches_table"]


class BatchSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What `/v1/files` and `/v1/batches` take."""

    folder: str | None = None
    """For the files of callers; without it there are no such routes."""
    max_file_megabytes: float = 200.0
    """Of one file that is uploaded."""
    max_megabytes: float = 5000.0
    """Of all files and results of one tenant; beyond, nothing more is taken until some are deleted."""
    max_rows: int = 50_000
    """Of one batch."""
    max_batches: int = 20
    """Of one tenant that are not at their end."""
    concurrency: int = 8
    """Rows of all batches that are answered at the same time."""
    keep_days: float | None = None
    """After which an ended batch is deleted, and a file that no running batch reads; without it callers delete."""


def parse_batches_table(table: Any, directory: Path, where: str) -> BatchSettings:
    """Read a `[batches]` table; a relative folder begins in the folder of the pool file. Raises ConfigError."""
    settings = parse_table(table, BatchSettings, where)
    for key in ("max_file_megabytes", "max_megabytes"):
        check_range(f"{where}: {key}", getattr(settings, key), 0.001, 1e9, "megabytes")
    for key in ("max_rows", "max_batches", "concurrency"):
        check_range(f"{where}: {key}", getattr(settings, key), 1, None, "a whole number")
    if settings.keep_days is not None:
        check_range(f"{where}: keep_days", settings.keep_days, 0.001, 1e6, "days")
    if settings.folder is None:
        return settings
    return msgspec.structs.replace(settings, folder=str(directory / Path(settings.folder).expanduser()))
