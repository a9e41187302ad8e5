"""What was learned from feedback: the file that `[learning] path` of a pool file names."""

from __future__ import annotations

import math
import re

from msgspec import Struct

from routemoa.core.errors import ConfigError
from routemoa.core.files.toml import check_range, load_toml, parse_table

__all__ = ["MAX_SHIFT", "LearnedJudge", "LearnedPriors", "list_corrected", "parse_learned_priors"]

MAX_SHIFT = 10.0
"""The largest shift in log-odds that a file may hold."""


class LearnedJudge(Struct, frozen=True, forbid_unknown_fields=True):
    """Names a judge model that was learned, and what it goes on top of."""

    file: str
    """Beside the learned file."""
    base: str
    """The digest of the judge model that was in use when it was learned; empty for the default."""


class LearnedPriors(Struct, frozen=True, forbid_unknown_fields=True):
    """Corrections of the prior, for each member."""

    shift: dict[str, float] = {}
    """Member -> what is added to the log-odds of its prior."""
    prior: dict[str, float] = {}
    """Member -> its prior in [0, 1], where the scorer and the pool file give none."""
    tasks: dict[str, dict[str, float]] = {}
    """Member -> task of the scorer -> what is added to the log-odds of its prior, times P(task | query)."""
    judge: LearnedJudge | None = None
    """The judge model that was learned; None where the pool's own holds."""
    fallen: tuple[str, ...] = ()
    """Members that had become worse when this was learned, and had not come back."""


def parse_learned_priors(text: str, where: str) -> LearnedPriors:
    """Read the text of a learned file. Raises ConfigError."""
    learned = parse_table(load_toml(text, where), LearnedPriors, where)
    of_tasks = [(f"{name}' on '{task}", shift) for name, each in learned.tasks.items() for task, shift in each.items()]
    for name, shift in (*learned.shift.items(), *of_tasks):
        if not math.isfinite(shift) or abs(shift) > MAX_SHIFT:
            raise ConfigError(
                f"{where}: shift of '{name}' is {shift}; it is log-odds, at most {MAX_SHIFT:g} either way"
            )
    if learned.judge is not None and not re.fullmatch(r"[\w-][\w.-]*\.json", learned.judge.file):
        raise ConfigError(f"{where}: [judge]: file = {learned.judge.file!r} must be a JSON file in the same folder")
    for name, prior in learned.prior.items():
        check_range(f"{where}: prior of '{name}'", prior, 0, 1, "a probability")
    return learned


def list_corrected(before: LearnedPriors | None, now: LearnedPriors | None) -> list[str]:
    """Return the members whose priors are corrected otherwise than before; None corrects none."""
    old, new = before or LearnedPriors(), now or LearnedPriors()
    names = dict.fromkeys(name for p in (old, new) for part in (p.shift, p.prior, p.tasks) for name in part)
    return [name for name in names if _find_correction(old, name) != _find_correction(new, name)]


def _find_correction(learned: LearnedPriors, name: str) -> tuple[float | None, float | None, dict[str, float] | None]:
    return learned.shift.get(name), learned.prior.get(name), learned.tasks.get(name)
