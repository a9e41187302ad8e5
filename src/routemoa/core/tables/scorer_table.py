"""The `[scorer]` table of a pool file: the folder of a trained scorer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from msgspec import Struct

from routemoa.core.errors import ConfigError
from routemoa.core.files.toml import parse_table

__all__ = ["ScorerTable", "parse_scorer_table"]

MAKE_SCORER = (
    "make one:  routemoa collect QUESTIONS --pool POOL --out records.jsonl,  then  routemoa scorer train records.jsonl "
    "--out my-scorer"
)


class ScorerTable(Struct, frozen=True, forbid_unknown_fields=True):
    """The `[scorer]` table."""

    path: str


def parse_scorer_table(table: Any, directory: Path, where: str) -> Path:
    """Return the folder that a `[scorer]` table names. Raises ConfigError where it holds no scorer."""
    path = parse_table(table, ScorerTable, where).path
    folder = Path(os.path.normpath(directory / Path(path).expanduser()))
    if not (folder / "manifest.json").is_file():
        raise ConfigError(f"{where}: path: {folder} holds no scorer; {MAKE_SCORER}")
    return folder
