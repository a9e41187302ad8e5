"""The files that a pool file's text names: one that comes over the network may name none outside the pool's folder."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from routemoa.core.catalog.providers import LOCAL
from routemoa.core.errors import ConfigError

__all__ = ["check_paths"]

FILE_KEYS = (("scorer", "path"), ("learning", "path"), ("mixture", "judge"), ("mixture", "policy"))
"""Table and key of a pool file that names a file or a folder."""


def check_paths(
    table: Mapping[str, Any], original: Mapping[str, Any], folder: Path, weights: Collection[str] = ()
) -> None:
    """Check the paths in the tables of a new text, before any of them is opened.

    Args:
        table: of the new text.
        original: of the file as it is, whose paths may stay.
        folder: where relative paths start.
        weights: names of models of the embedded runtime, which are no paths.

    Raises:
        ConfigError: a new path leads out of the folder.
    """
    known = {path for _, path in _list_paths(original)}
    for where, path in _list_paths(table):
        if path not in known and path not in weights and not _is_within(path, folder):
            raise ConfigError(
                f"{where}: {path!r} is outside the folder of the pool file; such a path is set in the file itself"
            )


def _list_paths(table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (place, path) of each file that is named."""
    for name, key in FILE_KEYS:
        part = table.get(name)
        if isinstance(part, dict) and isinstance(part.get(key), str):
            yield f"[{name}]: {key}", part[key]
    models = table.get("model")
    for entry in models if isinstance(models, list) else ():
        if isinstance(entry, dict) and entry.get("endpoint") == LOCAL:
            yield f"[[model]] '{entry.get('name')}': model", str(entry.get("model", entry.get("name")))


def _is_within(path: str, folder: Path) -> bool:
    """Return whether a path is relative and, with links followed, below the folder."""
    if "\0" in path or path.startswith("~") or Path(path).is_absolute():
        return False
    try:
        return (folder / path).resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):
        return False
