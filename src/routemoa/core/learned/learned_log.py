"""What runs of `routemoa learn` leave behind beside the pool file: their log, and the drifts that they report."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from routemoa.core.text.moments import describe_moment

__all__ = ["FOLDER", "LOG_FILE", "Step", "describe_drift", "find_last_run", "read_log"]

FOLDER = "learned"
"""Beside the pool file."""
LOG_FILE = "log.jsonl"


class Step(Struct, frozen=True, omit_defaults=True):
    """A line of the log."""

    at: str
    """UTC, ISO 8601."""
    action: str
    """"taken over", "kept" (nothing was better) or "undone"."""
    path: str | None = None
    """What the pool file names from here on."""
    before: str | None = None
    """What it named before; None is nothing."""
    figures: dict[str, Any] = {}


def read_log(pool_file: Path) -> list[Step]:
    """Return the steps of the log beside a pool file, the oldest first."""
    try:
        lines = (pool_file.absolute().parent / FOLDER / LOG_FILE).read_bytes().splitlines()
        return [msgspec.json.decode(line, type=Step) for line in lines if line.strip()]
    except (OSError, msgspec.DecodeError):
        return []  # without a log, going back means to the scorer as it is


def find_last_run(pool_file: Path) -> float | None:
    """Return when something was learned or looked for last, in seconds since the epoch; None where it never was."""
    steps = read_log(pool_file)
    return datetime.fromisoformat(steps[-1].at).timestamp() if steps else None


def describe_drift(drift: dict[str, Any]) -> str:
    """Return which member changed, since when and by how much, in one line."""
    return (
        f"{drift['model']} drifts: {drift['before']:.0%} right until {describe_moment(drift['since'])}, "
        f"{drift['after']:.0%} in the {drift['outcomes']:,} outcomes after it"
    )
