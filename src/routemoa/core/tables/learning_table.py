"""The `[learning]` table of a pool file: what was learned from feedback, and how a server goes on learning."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from msgspec import Struct

from routemoa.core.errors import ConfigError
from routemoa.core.files.toml import check_range, parse_table
from routemoa.core.learned.learned_priors import LearnedPriors, parse_learned_priors

__all__ = ["LearningSettings", "parse_learning_table", "read_learned_priors"]

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
MIN_SECONDS = 1.0
EXPLORE = 0.05
"""Where a server learns by itself and `explore` does not say otherwise."""
LATEST_OUTCOMES = 2000
"""The latest outcomes that are learned from."""


class LearningSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How a server learns from feedback."""

    path: str | None = None
    """The file of what was learned; `routemoa learn` writes and changes this key."""
    every: str | None = None
    """How often the server learns by itself, such as "1h"; None never does."""
    min_outcomes: int = 90
    """Outcomes that are needed to learn anything."""
    explore: float | None = None
    """The share of queries on which one further member is asked; None: 0.05 with `every`, else 0."""

    @property
    def seconds(self) -> float | None:
        """Return the seconds between two runs; None where the server does not learn."""
        return None if self.every is None else _parse_span(self.every)

    @property
    def explored_share(self) -> float:
        """Return the share of queries on which one further member is asked, in [0, 1]."""
        if self.explore is None:
            return EXPLORE if self.every is not None else 0.0
        return self.explore


def parse_learning_table(table: Any, where: str) -> LearningSettings:
    """Read a `[learning]` table. Raises ConfigError."""
    settings = parse_table(table, LearningSettings, where)
    if settings.every is not None and (settings.seconds is None or settings.seconds < MIN_SECONDS):
        raise ConfigError(f'{where}: every = {settings.every!r} must be a time such as "30m", "1h" or "1d"')
    check_range(f"{where}: min_outcomes", settings.min_outcomes, 30, LATEST_OUTCOMES, "outcomes")
    check_range(f"{where}: explore", settings.explore, 0, 0.5, "a share of the queries")
    return settings


def read_learned_priors(settings: LearningSettings, directory: Path, where: str) -> LearnedPriors | None:
    """Return what the file of a `[learning]` table says; None where it names none. Raises ConfigError."""
    if settings.path is None:
        return None
    path = directory / Path(settings.path).expanduser()
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as e:
        why = e.strerror if isinstance(e, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{where}: path: {path}: {why}; remove the key") from e
    return parse_learned_priors(text, str(path))


def _parse_span(text: str) -> float | None:
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)([smhd])", text.strip())
    return None if found is None else float(found[1]) * UNITS[found[2]]
