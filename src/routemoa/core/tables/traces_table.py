"""The `[traces]` table of a pool file: which answers' traces `routemoa serve` keeps, and for how long."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from routemoa.core.files.toml import check_range, parse_table

__all__ = ["TraceSettings", "parse_traces_table"]


class TraceSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Which traces are kept beside the ledger."""

    keep: bool = True
    """Whether any are kept."""
    days: float = 30.0
    """After which a trace is deleted, with its feedback."""
    max_megabytes: float = 500.0
    """Of all traces together; beyond, the oldest are deleted."""
    sample: float = 1.0
    """The share of answers whose traces are kept, in [0, 1]."""
    texts: bool = True
    """Whether traces hold the texts of questions and answers; without, an answer can be neither continued by its id nor
    learned from."""


def parse_traces_table(table: Any, where: str) -> TraceSettings:
    """Read a `[traces]` table. Raises ConfigError."""
    settings = parse_table(table, TraceSettings, where)
    check_range(f"{where}: days", settings.days, 0.001, 36_500, "days")
    check_range(f"{where}: max_megabytes", settings.max_megabytes, 1, 1e6, "megabytes")
    check_range(f"{where}: sample", settings.sample, 0, 1, "a share")
    return settings
