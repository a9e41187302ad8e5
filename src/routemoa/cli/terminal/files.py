"""Files that commands write: checked before the work, written in one step after it."""

from __future__ import annotations

import os
from pathlib import Path

from routemoa.core.errors import ConfigError

__all__ = ["check_writable", "write_file"]


def check_writable(path: str | None) -> None:
    """Raise ConfigError where a file cannot be written, before anything is spent; None passes."""
    if path and not os.access(Path(path).absolute().parent, os.W_OK):
        raise ConfigError(f"{path}: its folder does not exist or cannot be written to; choose another place")


def write_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a whole file in one step, so that it is never left half written."""
    part = Path(f"{os.fspath(path)}.{os.getpid()}.part")
    part.write_bytes(data)
    part.replace(path)
