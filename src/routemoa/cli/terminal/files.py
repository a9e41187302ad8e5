"""Files and folders that commands write: checked before the work, written in one step after it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from routemoa.core.errors import ConfigError

__all__ = ["STDOUT", "check_writable", "check_writable_folder", "write_figures", "write_file"]

STDOUT = "-"
"""Names standard output instead of a file of figures; what else would be printed there is left out."""


def check_writable(path: str | None) -> None:
    """Raise ConfigError where a file cannot be written, before anything is spent; None passes."""
    if not path or path == STDOUT:
        return
    file = Path(path)
    try:
        if file.is_dir():
            raise ConfigError(f"{path}: this is a folder; name a file in it")
        if _is_special(file):
            return
        _try_to_write(file)
    except (OSError, ValueError) as e:
        raise _unwritable(path, e) from e


def check_writable_folder(path: str | None) -> None:
    """Raise ConfigError where a folder cannot be made, or nothing be written into it; None passes."""
    if not path:
        return
    try:
        existing = Path(path).absolute()
        while not existing.exists():
            existing = existing.parent
        if not existing.is_dir():
            raise ConfigError(f"{path}: {existing} is a file; choose another folder")
        _try_to_write(existing / "check")
    except (OSError, ValueError) as e:
        raise _unwritable(path, e) from e


def write_figures(path: str, data: bytes) -> None:
    """Write figures to a file, or to standard output where it is named. Raises ConfigError."""
    if path != STDOUT:
        write_file(path, data)
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.flush()


def write_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a whole file in one step, so that it is never left half written.

    Raises:
        ConfigError: it cannot be written.
    """
    file = Path(path)
    try:
        if _is_special(file):
            file.write_bytes(data)
            return
        part = _part(file)
        try:
            part.write_bytes(data)
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
    except OSError as e:
        raise _unwritable(os.fspath(path), e) from e


def _try_to_write(file: Path) -> None:
    """Make a file beside this one and remove it; only that tells whether one can be made. Raises OSError."""
    part = _part(file)
    part.touch()
    part.unlink()


def _part(file: Path) -> Path:
    return file.with_name(f"{file.name}.{os.getpid()}.part")


def _is_special(file: Path) -> bool:
    """Return whether a path is a device or a pipe, such as /dev/stdout, which must not be replaced by a file."""
    return file.exists() and not file.is_file()


def _unwritable(path: str, error: OSError | ValueError) -> ConfigError:
    if isinstance(error, FileNotFoundError):
        return ConfigError(f"{path}: cannot be written: its folder does not exist; make it or choose another place")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return ConfigError(f"{path}: cannot be written ({reason}); choose another place")
