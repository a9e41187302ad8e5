"""The judge model of a pool: what its judge file says, and what `routemoa learn` learned on top of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.errors import ConfigError
from routemoa.core.pool_file.pool import Pool
from routemoa.judging.judge_model import JudgeModel, read_judge_model

__all__ = ["PoolJudge", "combine_judges", "digest_judge_file", "load_pool_judge", "read_pool_judge"]

CALIBRATED = ("pairwise_judge", "open_evidence")
"""What `routemoa judge calibrate` finds, and learning does not."""


class PoolJudge(Struct, frozen=True):
    """The judge model of a pool, and where it comes from."""

    base: JudgeModel
    """Of the file that the pool names, else the default."""
    judge_model: JudgeModel
    """The base, with what was learned."""
    learned: Path | None = None
    """The file that was learned and is in use."""
    outdated: Path | None = None
    """The file that was learned and is left out: the pool's judge model is another one since."""


def load_pool_judge(pool: Pool) -> JudgeModel:
    """Return the judge model that the pool names, with what was learned, else the default. Raises ConfigError."""
    return read_pool_judge(pool).judge_model


def read_pool_judge(pool: Pool) -> PoolJudge:
    """Return the judge model of a pool, and where it comes from. Raises ConfigError."""
    base = read_judge_model(pool.judge) if pool.judge else JudgeModel()
    named, file = pool.learned.judge if pool.learned else None, pool.learned_judge
    if named is None or file is None:
        return PoolJudge(base, base)
    if named.base != digest_judge_file(pool.judge):
        return PoolJudge(base, base, outdated=file)
    if not file.is_file():
        raise ConfigError(f"{file}: the judge model that was learned is gone; go back with  routemoa learn --undo")
    return PoolJudge(base, combine_judges(base, read_judge_model(file)), learned=file)


def combine_judges(base: JudgeModel, learned: JudgeModel) -> JudgeModel:
    """Return a judge model with what was learned, and what only `judge calibrate` and `judge fit` know."""
    return replace(
        learned, pairwise_judge=base.pairwise_judge, open_evidence=base.open_evidence, questions=base.questions
    )


def digest_judge_file(path: Path | None) -> str:
    """Return what stands for the fitted part of a judge file that can be read; empty without a file."""
    if path is None:
        return ""
    plain = msgspec.json.decode(path.read_bytes())
    fitted = {key: value for key, value in plain.items() if key not in CALIBRATED}
    return hashlib.sha256(msgspec.json.encode(fitted, order="deterministic")).hexdigest()[:16]
