"""Show what was learned of endpoints, and write it into the pool file; its comments and its order stay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from routemoa.clients.protocol.dialect import Dialect, describe_dialect, member_dialect
from routemoa.core.errors import ConfigError
from routemoa.core.pool_file.pool import Pool

__all__ = ["describe_learned", "write_dialects"]


def describe_learned(pool: Pool, learned: Mapping[str, Dialect], *, written: bool) -> Iterator[str]:
    """Yield a line for each endpoint that differs, and one that says what to do about it."""
    for name, dialect in learned.items():
        yield f"{name}: its endpoint differs: {describe_dialect(dialect)}"
    if learned and written:
        yield f"written into {pool.source}"
    elif learned:
        yield "a server learns this with its first call; to keep it, run  routemoa pool check --write"
    elif written:
        yield "nothing to write: no endpoint refused a field"


def write_dialects(pool: Pool, learned: Mapping[str, Dialect]) -> None:
    """Add what was learned to the pool file, all or nothing; a provider's own dialect is written along.

    Raises:
        ConfigError: there is no file, or it cannot be edited.
    """
    from routemoa.cli.pool.pool_file import Change, change_table, find_pool_file

    if not Path(pool.source).is_file():
        raise ConfigError(f"{pool.source} is no file of yours: name one with --pool to write into it")
    file = find_pool_file(pool.source)
    text, entries = file.text, [dict(entry) for entry in file.entries]
    for name, dialect in learned.items():
        values = _to_keys(member_dialect(pool[name]) | dialect, dialect)
        next(e for e in entries if e["name"] == name).update(values)
        text = change_table(text, name, [Change(key, _to_toml(value)) for key, value in values.items()])
    if learned:
        file.save(text, entries)


def _to_keys(whole: Dialect, changed: Dialect) -> dict[str, Any]:
    """Return the keys of the table that change, with their values."""
    keys: dict[str, Any] = {"omit": sorted(whole.omit)} if changed.omit else {}
    return keys | ({"rename": dict(sorted(whole.rename.items()))} if changed.rename else {})


def _to_toml(value: Any) -> Any:
    """Return a value for tomlkit; a table stands on one line."""
    import tomlkit

    if not isinstance(value, dict):
        return value
    table = tomlkit.inline_table()
    table.update(value)
    return table
