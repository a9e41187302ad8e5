"""Secrets in the text of a pool file: they are not shown, not written again, and stay where they are. Pure.

Keys belong into the environment. A file may hold some all the same: in headers, in a URL, in parameters, in a comment.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from routemoa.core.errors import ConfigError
from routemoa.core.text.urls import find_userinfo, hide_userinfo

__all__ = ["check_secrets", "hide_secrets", "show_secrets"]

MIN_LENGTH = 4
"""Of a secret: a shorter text is hidden nowhere, since it would be found in every other word."""
_LIKE_A_KEY = re.compile(
    r"\b(?:sk|rk|pk|rmk|gsk|xai|hf|ghp|gho|glpat|pplx|csk|nvapi|r8|fw|tgp|key|AKIA|AIza|eyJ)[-_A-Za-z0-9.]{16,}"
    r"|\b(?=[A-Za-z0-9_]*\d)(?=[A-Za-z0-9_]*[a-z])(?=[A-Za-z0-9_]*[A-Z])[A-Za-z0-9_]{32,}\b"
    r"|\b[0-9a-f]{32,}\b"
)
"""The beginnings of providers' keys, and long words of mixed letters and digits."""
_SECRET_NAME = re.compile(
    r"(?i)auth(?!or)|token(?!s)|secret|passw|credential|cookie|signature|(^|[-_. ])api[-_]?keys?$|(?<!cache[-_])key$"
)
"""Keys and headers whose values are taken for secrets."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VARIABLE_KEYS = ("api_key_env", "key_env", "admin_key_env")


class _Leaf(NamedTuple):
    """A text of the file, and where it stands."""

    endpoint: str
    """Of its `[[model]]` table, else empty."""
    path: tuple[str, ...]
    text: str


def hide_secrets(text: str) -> str:
    """Return the text of a pool file with a mark in place of each secret. Raises ConfigError where one cannot be."""
    for number, secret in enumerate(_list_secrets(text), 1):
        text = text.replace(secret, _mark(number))
    return text


def show_secrets(text: str, original: str) -> str:
    """Return a text with the secrets of the original in place of their marks. Raises ConfigError.

    A secret may be left out, and is sent to no other endpoint and under no other name than in the original.
    """
    secrets = _list_secrets(original)
    for number, secret in enumerate(secrets, 1):
        text = text.replace(_mark(number), secret)
    if found := re.search(r"⟨hidden \d+⟩", text):
        raise ConfigError(f"{found[0]}: stands for no secret of this file")
    before = set(_list_leaves(_parse(original)))
    for leaf in _list_leaves(_parse(text)):
        if any(secret in leaf.text for secret in secrets) and leaf not in before:
            raise ConfigError(
                f"{'.'.join(leaf.path)}: a hidden value can be left out, but not changed or moved here; edit the file"
            )
    return text


def check_secrets(text: str, original: str) -> None:
    """Check that a text holds no secret that the original does not. Raises ConfigError."""
    known = set(_list_secrets(original)) | {m[0] for m in _LIKE_A_KEY.finditer(original)}
    for number, line in enumerate(text.splitlines(), 1):
        if any(m[0] not in known for m in _LIKE_A_KEY.finditer(line)):
            raise ConfigError(
                f"line {number}: this looks like a key; keys stay in the environment: name its variable with "
                'api_key_env = "VARIABLE"'
            )
    table = _parse(text)
    before = set(_list_leaves(_parse(original)))
    for leaf in _list_leaves(table):
        if leaf.path[-1] in _VARIABLE_KEYS:
            if not _VARIABLE.fullmatch(leaf.text):
                raise ConfigError(f"{leaf.path[-1]}: write the name of an environment variable, not the key itself")
        elif leaf not in before and _find_secrets(leaf):
            raise ConfigError(f"{'.'.join(leaf.path)}: a secret cannot be written here; edit the file on the server")


def _mark(number: int) -> str:
    return f"⟨hidden {number}⟩"


def _list_secrets(text: str) -> list[str]:
    """Return the distinct secrets of a text, the longest first. Raises ConfigError."""
    found: set[str] = {m[0] for m in _LIKE_A_KEY.finditer(text)}
    for leaf in _list_leaves(_parse(text)):
        for secret in _find_secrets(leaf):
            if secret not in text:  # written with escapes
                raise ConfigError(f"{'.'.join(leaf.path)}: holds a secret that cannot be hidden; edit the file by hand")
            found.add(secret)
    return sorted(found, key=lambda secret: (-len(secret), secret))


def _find_secrets(leaf: _Leaf) -> list[str]:
    """Return the secret parts of a text."""
    name = leaf.path[-1]
    if name in _VARIABLE_KEYS or "rename" in leaf.path or len(leaf.text) < MIN_LENGTH:
        return []
    if "headers" in leaf.path[:-1] or _SECRET_NAME.search(name):
        return [leaf.text]
    if name == "endpoint" and "//" in leaf.text:
        query = hide_userinfo(leaf.text).partition("?")[2].partition("#")[0]
        return [part for part in (find_userinfo(leaf.text), query) if part and len(part) >= MIN_LENGTH]
    return []


def _parse(text: str) -> dict[str, Any]:
    """Return the tables; none where it is no TOML, which another check says."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError):
        return {}


def _list_leaves(table: Mapping[str, Any]) -> Iterator[_Leaf]:
    """Yield the texts of a file with their places."""
    for name, value in table.items():
        if name == "model" and isinstance(value, list):
            for entry in value:
                endpoint = str(entry.get("endpoint", "")) if isinstance(entry, dict) else ""
                yield from _walk(entry, ("model",), endpoint)
        else:
            yield from _walk(value, (name,), "")


def _walk(value: Any, path: tuple[str, ...], endpoint: str) -> Iterator[_Leaf]:
    if isinstance(value, str):
        yield _Leaf(endpoint, path, value)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _walk(inner, (*path, name), endpoint)
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(inner, path, endpoint)
