"""Edit a pool file's text: add, remove and change `[[model]]` tables; comments and layout of all else stay as they are.

The functions on text are pure. Each edit is compared with what it should have done to the values before it is written.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from routemoa.cli.terminal.files import check_writable, write_file
from routemoa.core.errors import ConfigError
from routemoa.core.files.toml import load_toml, suggest_name
from routemoa.core.pool_file.pool import parse_pool

__all__ = ["Change", "PoolFile", "add_table", "change_table", "find_pool_file", "read_comments", "remove_table"]

DEFAULT_FILE = "pool.toml"
MAX_BYTES = 2**20
_HEADER = re.compile(r"\s*\[")
_MODEL_HEADER = re.compile(r"\s*\[\[\s*(model|\"model\"|'model')\s*\]\]")
_MODEL_PART = re.compile(r"\s*\[\[?\s*(model|\"model\"|'model')\s*\.")


class Change(Struct, frozen=True):
    """A new value of a key, or a new comment behind it."""

    key: str
    value: Any = None
    """None leaves the value as it is."""
    comment: str | None = None
    """None leaves the comment as it is; an empty one is removed."""


class _Table(Struct, frozen=True):
    """The lines of one `[[model]]` table: first, header, and the one behind the last."""

    name: str
    first: int
    header: int
    end: int


class PoolFile:
    """A pool file that is being edited.

    Raises:
        ConfigError: the file cannot be read, or is no pool file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            data = path.read_bytes()
        except OSError as e:
            hint = "; make one with  routemoa init" if isinstance(e, FileNotFoundError) else ""
            raise ConfigError(f"{path}: cannot be read: {e.strerror}{hint}") from e
        if len(data) > MAX_BYTES:
            raise ConfigError(f"{path}: is larger than {MAX_BYTES >> 20} MiB; is it a pool file?")
        try:
            self._mark = "\ufeff" if data.startswith(b"\xef\xbb\xbf") else ""
            self.text = data.decode("utf-8-sig")
        except UnicodeDecodeError as e:
            raise ConfigError(f"{path}: it is not UTF-8 text") from e
        self.entries: list[dict[str, Any]] = self._check(self.text)

    def find(self, name: str) -> dict[str, Any]:
        """Return the `[[model]]` entry of this name. Raises ConfigError."""
        for entry in self.entries:
            if entry.get("name") == name:
                return entry
        names = [str(e.get("name")) for e in self.entries]
        raise ConfigError(f"{self.path}: no model '{name}'; {suggest_name(name, names)}")

    def save(
        self,
        text: str,
        entries: Sequence[Mapping[str, Any]],
        tables: Mapping[str, Mapping[str, Any] | None] | None = None,
    ) -> None:
        """Write the edited text in one step, with the file's permissions, if it says just what it should.

        Args:
            text: the whole new text.
            entries: the `[[model]]` entries that it must have.
            tables: other tables that change; None takes one out.

        Raises:
            ConfigError: the text would not be that pool file, or the file cannot be written.
        """
        wanted = {**load_toml(self.text, str(self.path)), "model": list(entries), **(tables or {})}
        if load_toml(text, str(self.path)) != {key: value for key, value in wanted.items() if value is not None}:
            raise ConfigError(f"{self.path}: its tables are written in a way that cannot be edited; change it by hand")
        self._check(text)
        target = self.path.resolve()
        check_writable(str(target))
        mode = target.stat().st_mode
        write_file(target, (self._mark + text).encode())
        target.chmod(mode & 0o7777)
        self.text, self.entries = text, [dict(e) for e in entries]

    def _check(self, text: str) -> list[dict[str, Any]]:
        """Return the entries of a valid pool file; the keys it names need not be set."""
        parse_pool(text, str(self.path), self.path.absolute().parent, _AnyKey(os.environ))
        entries: list[dict[str, Any]] = load_toml(text, str(self.path))["model"]
        return entries


class _AnyKey(dict[str, str]):
    """An environment in which every key is set: an edit needs none of them."""

    def get(self, name: str, default: Any = None) -> Any:
        """Return the variable or, where it is not set, a value of its own; our own settings stay unset."""
        return super().get(name) or (default if name.startswith("ROUTEMOA_") else f"assumed-{name}")


def find_pool_file(chosen: str | None, env: Mapping[str, str] = os.environ) -> PoolFile:
    """Return the file to edit: the one that was named, else that of $ROUTEMOA_POOL, else pool.toml."""
    return PoolFile(Path(chosen or env.get("ROUTEMOA_POOL") or DEFAULT_FILE))


def add_table(text: str, table: Sequence[str]) -> str:
    """Return the text with a further table behind the last `[[model]]` table."""
    lines = text.splitlines(keepends=True)
    tables = _find_tables(text)
    end = tables[-1].end if tables else 0
    newline = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    head = "".join(lines[:end])
    head += "" if not head or head.endswith("\n") else newline
    rest = "".join(lines[end:])
    gap = "" if not rest or rest.startswith(("\n", "\r\n")) else newline
    return head + newline + "".join(line + newline for line in table) + gap + rest


def remove_table(text: str, name: str) -> str:
    """Return the text without a model's table and the comments that belong to it."""
    lines = text.splitlines(keepends=True)
    table = _find_table(text, name)
    before, after = lines[: table.first], lines[table.end :]
    while after and not after[0].strip() and (not before or not before[-1].strip()):
        del after[0]
    if not after:
        while before and not before[-1].strip():
            del before[-1]
    return "".join(before + after)


def change_table(text: str, name: str, changes: Sequence[Change]) -> str:
    """Return the text with other values or comments in a model's table; a key that it lacks comes at its end."""
    import tomlkit

    lines = text.splitlines(keepends=True)
    table = _find_table(text, name)
    part: Any = tomlkit.parse("".join(lines[table.header : table.end]))
    for change in changes:
        _apply(part["model"][0], change)
    return "".join(lines[: table.header]) + tomlkit.dumps(part) + "".join(lines[table.end :])


def read_comments(text: str, name: str) -> dict[str, str]:
    """Return key -> the comment behind its value in a model's table, with its mark; keys without one are left out."""
    import tomlkit

    table = _find_table(text, name)
    part: Any = tomlkit.parse("".join(text.splitlines(keepends=True)[table.header : table.end]))
    entry = part["model"][0]
    items = {key: entry.item(key) for key in entry}  # a value that is true or false would come without its comment
    return {key: item.trivia.comment for key, item in items.items() if item.trivia.comment}


def _apply(entry: Any, change: Change) -> None:
    """Change a value of a tomlkit table, and its comment; the column of the comment stays where it can."""
    old = entry.get(change.key)
    width = 0 if old is None else len(old.as_string()) + len(old.trivia.comment_ws)
    if change.value is not None:
        entry[change.key] = change.value
    item = entry[change.key]
    if change.comment is not None:
        item.trivia.comment = f"# {change.comment}" if change.comment else ""
        item.trivia.comment_ws = item.trivia.comment_ws if change.comment else ""
    if item.trivia.comment:
        item.trivia.comment_ws = " " * max(2, width - len(item.as_string()))


def _find_table(text: str, name: str) -> _Table:
    found = next((t for t in _find_tables(text) if t.name == name), None)
    if found is None:
        raise ConfigError(f"model '{name}' has no [[model]] table of its own; change the file by hand")
    return found


def _find_tables(text: str) -> list[_Table]:
    """Return where the `[[model]]` tables are.

    A line that looks like a header is one if the text before it is complete: not within a string or an array.
    """
    lines = text.splitlines(keepends=True)
    headers = [i for i, line in enumerate(lines) if _HEADER.match(line) and _is_complete(lines[:i])]
    starts = [i for i in headers if not _MODEL_PART.match(lines[i])]
    tables = []
    for header in (i for i in starts if _MODEL_HEADER.match(lines[i])):
        following = next((i for i in starts if i > header), len(lines))
        end = _leading_comments(lines, following) if following < len(lines) else following
        end = _end_of_content(lines, header, end)
        entry = tomllib.loads("".join(lines[header:end]))["model"][0]
        first = _leading_comments(lines, header)
        # A comment that begins the file is about the file.
        tables.append(_Table(str(entry.get("name")), header if first == 0 else first, header, end))
    return tables


def _is_complete(lines: Sequence[str]) -> bool:
    try:
        tomllib.loads("".join(lines))
    except (ValueError, RecursionError):
        return False
    return True


def _leading_comments(lines: Sequence[str], header: int) -> int:
    """Return the first of the comment lines directly above a header, or the header itself."""
    while header and lines[header - 1].lstrip().startswith("#"):
        header -= 1
    return header


def _end_of_content(lines: Sequence[str], start: int, end: int) -> int:
    """Return the line behind a table's last key and the comments directly below it; what follows a gap is not its own.

    A comment within a string is none: the string's end comes after it.
    """
    last = end
    while last > start and (not lines[last - 1].strip() or lines[last - 1].lstrip().startswith("#")):
        last -= 1
    while last < end and lines[last].lstrip().startswith("#"):
        last += 1
    return last
