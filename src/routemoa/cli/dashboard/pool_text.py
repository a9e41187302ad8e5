"""The text of a pool file as the page Pool shows, checks and writes it."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from pathlib import Path
from typing import Any

from msgspec import Struct

from routemoa.cli.dashboard.pool_paths import check_paths
from routemoa.cli.dashboard.pool_secrets import check_secrets, hide_secrets, show_secrets
from routemoa.core.errors import ConfigError
from routemoa.core.files.toml import load_toml
from routemoa.core.pool_file.pool import Pool, parse_pool
from routemoa.core.text.plural import counted

__all__ = ["MAX_CHARACTERS", "PoolText", "check_text", "describe_text", "read_pool_text", "restore_text", "write_text"]

MAX_CHARACTERS = 256 * 1024
MAX_LINES = 5_000
_LONG_KEY = re.compile(r"""(?:\.[ \t]*(?:"[^"\n]*"|'[^'\n]*'|[\w-]+)[ \t]*){40}""")
"""A key of so many parts: `tomllib` takes time that grows with their square."""
NOT_A_FILE = "This server runs on {source}, which is no file of yours; make one with  routemoa init,  then serve that."
CHANGED = "The pool file has changed meanwhile; load it again, so that nobody's change is lost."


class PoolText(Struct, frozen=True):
    """A pool file as it is."""

    path: Path
    data: bytes
    text: str
    """With line feeds alone."""

    @property
    def digest(self) -> str:
        """Return what changes when the file does."""
        return hashlib.sha256(self.data).hexdigest()


def read_pool_text(pool: Pool) -> PoolText:
    """Read the file that a pool is from. Raises ConfigError."""
    path = Path(pool.source)
    if not path.is_file():
        raise ConfigError(NOT_A_FILE.format(source=pool.source))
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: cannot be read: {e}") from e
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(f"{path}: is too long to be edited here; it has {len(text):,} characters")
    return PoolText(path, data, text)


def describe_text(file: PoolText) -> dict[str, Any]:
    """Return the text without secrets, and its digest. Raises ConfigError."""
    return {"text": hide_secrets(file.text), "digest": file.digest}


def check_text(pool: Pool, file: PoolText, text: str) -> dict[str, Any]:
    """Return whether a text could be taken over, what it would change, and what would be wrong with it."""
    diff = list(_diff(hide_secrets(file.text), text))
    try:
        fresh = _parse(pool, file, text)
    except ConfigError as e:
        message = str(e)
        return {"ok": False, "error": message, "line": _find_line(text, message), "diff": diff, "warnings": []}
    from routemoa.mixture.pool_warnings import list_pool_warnings

    return {"ok": True, "error": None, "line": None, "diff": diff, "warnings": list_pool_warnings(fresh),
            "members": [m.name for m in fresh]}  # fmt: skip


def write_text(pool: Pool, file: PoolText, text: str, digest: str) -> None:
    """Write a text over the file, in one step and with its permissions. Raises ConfigError."""
    from routemoa.cli.terminal.files import check_writable

    if digest != file.digest:
        raise ConfigError(CHANGED)
    _parse(pool, file, text)
    whole = show_secrets(text, file.text)
    if b"\r\n" in file.data:
        whole = whole.replace("\n", "\r\n")
    mark = b"\xef\xbb\xbf" if file.data.startswith(b"\xef\xbb\xbf") else b""
    check_writable(str(file.path.resolve()))
    restore_text(file.path, mark + whole.encode())


def restore_text(path: Path, data: bytes) -> None:
    """Write the bytes of a pool file in one step, with its permissions. Raises ConfigError."""
    from routemoa.cli.terminal.files import write_file

    target = path.resolve()
    mode = target.stat().st_mode
    write_file(target, data)
    target.chmod(mode & 0o7777)


def _parse(pool: Pool, file: PoolText, text: str) -> Pool:
    """Return the pool that a text describes; no file is opened that the file itself does not name or lie beside."""
    from routemoa.clients.weights import list_chat_weights

    if len(text) > MAX_CHARACTERS or text.count("\n") > MAX_LINES:
        most = f"{counted(MAX_LINES, 'line')} and {MAX_CHARACTERS:,} characters"
        raise ConfigError(f"the text is too long; at most {most}")
    source = file.path.name
    if found := _LONG_KEY.search(text):
        raise ConfigError(f"line {text.count(chr(10), 0, found.start()) + 1}: a key has at most 40 parts")
    whole = show_secrets(text, file.text)
    try:
        check_secrets(whole, file.text)
        table = load_toml(whole, source)
        check_paths(table, load_toml(file.text, source), pool.directory, list_chat_weights())
        return parse_pool(whole, source, pool.directory, os.environ)
    except RecursionError as e:
        raise ConfigError(f"{source}: its values are nested too deeply") from e


def _diff(before: str, after: str) -> list[str]:
    """Return the lines of a unified diff, without its head; none where nothing changes."""
    if before == after or after.count("\n") > MAX_LINES:
        return []
    lines = difflib.unified_diff(before.split("\n"), after.split("\n"), lineterm="", n=2)
    return list(lines)[2:]


def _find_line(text: str, message: str) -> int | None:
    """Return the line, from 1, that a message about a text is about; None where it does not tell."""
    if found := re.search(r"\bline (\d+)", message):
        return int(found[1])
    lines = text.split("\n")
    if found := re.search(r"\[\[(model|tenant)\]\] (\d+)", message):
        heads = [n for n, line in enumerate(lines, 1) if re.match(rf"\s*\[\[\s*{found[1]}\s*\]\]", line)]
        head = heads[int(found[2]) - 1] if len(heads) >= int(found[2]) else None
        return None if head is None else _find_key(lines, head, message)
    if found := re.search(r"\[(\w+)\]", message):
        head = next((n for n, line in enumerate(lines, 1) if line.strip().startswith(f"[{found[1]}]")), None)
        return None if head is None else _find_key(lines, head, message)
    return None


def _find_key(lines: list[str], head: int, message: str) -> int:
    """Return the line of the key that a message names within the table that begins at a line; else that line."""
    for number, line in enumerate(lines[head:], head + 1):
        if line.lstrip().startswith("["):
            break
        key = line.partition("=")[0].strip()
        if key and re.search(rf"(?<![\w-]){re.escape(key)}(?![\w-])", message):
            return number
    return head
