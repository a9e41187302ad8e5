"""The file of a fitted judge: what `routemoa judge fit` learned, as JSON that a person can read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from routemoa.core.errors import ConfigError
from routemoa.core.pool import Mixture, Pool, parse_mixture
from routemoa.judging.judge_model import JudgeModel

__all__ = ["encode_judge_model", "load_pool_judge", "read_judge_model", "read_policy"]


def load_pool_judge(pool: Pool) -> JudgeModel:
    """The judge that the pool file names, else the one that knows nothing yet. Raises ConfigError."""
    return read_judge_model(pool.judge) if pool.judge else JudgeModel()


RENAMED_FIELDS: dict[str, dict[str, str]] = {
    "": {"judges": "peer_judges", "selves": "self_judges"},
    "coefficients": {"spoken": "verbalized", "likeness": "similarity", "copied": "informed_vote"},
    "correlation": {
        "spread": "difficulty_sd",
        "scatter": "error_concentration",
        "kinship": "pairwise_error_correlation",
    },
}
"""Fields of files written before November 26, 2026 -> their names now, by the object that holds them."""


def read_judge_model(path: str | Path) -> JudgeModel:
    """Read a judge model; files of earlier versions are read, too. Raises ConfigError."""
    try:
        plain = _upgrade(msgspec.json.decode(Path(path).read_bytes()))
        return msgspec.convert(plain, JudgeModel)
    except OSError as e:
        raise ConfigError(f"{path}: cannot be read: {e.strerror}; make one with  routemoa judge fit") from e
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: not a judge that  routemoa judge fit  wrote: {e}") from e


def read_policy(path: str | None) -> tuple[Mixture, JudgeModel]:
    """The mixture of a TOML file with a [mixture] table, and the judge that it names; the defaults without a file.

    Raises:
        ConfigError: either cannot be read.
    """
    if path is None:
        return Mixture(), JudgeModel()
    try:
        mixture = parse_mixture(Path(path).read_text("utf-8"), path)
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: cannot be read; --policy takes a TOML file with a [mixture] table") from e
    return mixture, read_judge_model(Path(path).absolute().parent / mixture.judge) if mixture.judge else JudgeModel()


def _upgrade(plain: Any, place: str = "") -> Any:
    """Rename the fields of earlier versions."""
    if not isinstance(plain, dict):
        return plain
    names = RENAMED_FIELDS.get(place, {})
    return {
        names.get(key, key): _upgrade(value, key) if not place and key in RENAMED_FIELDS else value
        for key, value in plain.items()
    }


def encode_judge_model(judge_model: JudgeModel) -> bytes:
    """The judge as the text of its file."""
    return msgspec.json.format(msgspec.json.encode(judge_model), indent=2) + b"\n"
