"""The file of a fitted judge: what `routemoa judge fit` learned, as JSON that a person can read."""

from __future__ import annotations

from pathlib import Path

import msgspec

from routemoa.core.errors import ConfigError
from routemoa.core.pool import Mixture, Pool, mixture_of
from routemoa.judging.evidence import Judging

__all__ = ["judging_of", "policy_file", "read", "written"]


def judging_of(pool: Pool) -> Judging:
    """The judge that the pool file names, else the one that knows nothing yet. Raises ConfigError."""
    return read(pool.judge) if pool.judge else Judging()


def read(path: str | Path) -> Judging:
    """The judge in a file. Raises ConfigError."""
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=Judging)
    except OSError as e:
        raise ConfigError(f"{path}: cannot be read: {e.strerror}; make one with  routemoa judge fit") from e
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: not a judge that  routemoa judge fit  wrote: {e}") from e


def policy_file(path: str | None) -> tuple[Mixture, Judging]:
    """The mixture of a TOML file with a [mixture] table, and the judge that it names; the defaults without a file.

    Raises:
        ConfigError: either cannot be read.
    """
    if path is None:
        return Mixture(), Judging()
    try:
        mixture = mixture_of(Path(path).read_text("utf-8"), path)
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: cannot be read; --policy takes a TOML file with a [mixture] table") from e
    return mixture, read(Path(path).absolute().parent / mixture.judge) if mixture.judge else Judging()


def written(judging: Judging) -> bytes:
    """The judge as the text of its file."""
    return msgspec.json.format(msgspec.json.encode(judging), indent=2) + b"\n"
