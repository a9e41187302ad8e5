"""Find and open the files of a large input: one file, those of a folder, or those at a URL (fsspec, extra `batch`)."""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from routemoa.core.errors import ConfigError, MissingExtra
from routemoa.core.files.file_kind import HEAD_BYTES
from routemoa.core.text.unicode_text import mend_halves
from routemoa.core.text.urls import hide_userinfo_and_query
from routemoa.datasets.file_heads import GZIP_MAGIC

__all__ = ["is_url", "list_input_files", "local_copy", "open_input", "peek_input", "show_input"]

URL = re.compile(r"[a-z][a-z0-9+.-]+(://|::)", re.I)
NAMES = re.compile(r"\.(jsonl|ndjson|json|csv|tsv|parquet)(\.gz)?$", re.I)
BLOCK = 1 << 20


def is_url(path: str) -> bool:
    """Return whether a path is a URL that fsspec opens, such as s3://bucket/in.jsonl."""
    return URL.match(path) is not None


def show_input(path: str) -> str:
    """Return a path or a URL as text to show and keep: without passwords, and without keys in a query."""
    return mend_halves("::".join(map(hide_userinfo_and_query, path.split("::"))) if is_url(path) else path)


def list_input_files(path: str, leave_out: Path | None = None) -> list[str]:
    """Return the files of an input in their order: the file itself, or what a folder holds, the deepest included.

    Args:
        path: a file, a folder or a URL.
        leave_out: a folder of results, which may lie in the input's.

    Raises:
        ConfigError: there is none.
        MissingExtra: a URL without the extra [batch].
    """
    names = _list_remote(path) if is_url(path) else _list_local(path, leave_out)
    if not names:
        raise ConfigError(
            f"{show_input(path)}: no file ends in .jsonl, .json, .csv, .tsv or .parquet, or these with .gz"
        )
    return names


def _list_local(path: str, leave_out: Path | None) -> list[str]:
    place = Path(path)
    if not place.exists():
        raise ConfigError(f"{path}: there is no such file or folder")
    if not place.is_dir():
        return [path]
    own = None
    if leave_out is not None and leave_out.resolve().is_relative_to(place.resolve()):
        own = leave_out.resolve().relative_to(place.resolve())
        if not own.parts:
            raise ConfigError(f"{leave_out}: is the folder of the input, too; choose another --out")
    found = ((p, p.relative_to(place)) for p in place.rglob("*") if p.is_file() and NAMES.search(p.name))
    visible = ((p, inside) for p, inside in found if not any(part.startswith(".") for part in inside.parts))
    return sorted(str(p) for p, inside in visible if own is None or not inside.is_relative_to(own))


def _list_remote(url: str) -> list[str]:
    files, place = _open_filesystem(url)
    try:
        if files.isfile(place):
            return [url]
        found = sorted(name for name in files.find(place) if NAMES.search(name))
        if not found and not files.exists(place):
            raise FileNotFoundError("there is no such file or folder, or it cannot be reached")
    except Exception as e:  # each store has errors of its own
        raise ConfigError(f"{show_input(url)}: cannot be listed: {_explain(e, url)}") from e
    parts = url.split("::")  # such as zip://folder::s3://bucket/a.zip, where found is in the folder
    place_in_chain = next((i for i, part in enumerate(parts) if "://" in part), len(parts) - 1)
    before, after = parts[:place_in_chain], parts[place_in_chain + 1 :]
    return ["::".join([*before, str(files.unstrip_protocol(name)), *after]) for name in found]


@contextmanager
def open_input(path: str) -> Iterator[io.BufferedReader[Any]]:
    """Open a file for reading bytes. Raises OSError, MissingExtra."""
    if not is_url(path):
        with open(path, "rb") as raw:
            yield raw
        return
    files, place = _open_filesystem(path)
    try:
        opened = files.open(place, "rb")
    except Exception as e:
        raise OSError(None, _explain(e, path)) from e
    with opened, io.BufferedReader(cast("io.RawIOBase", opened), BLOCK) as raw:
        yield raw


@contextmanager
def local_copy(path: str) -> Iterator[str]:
    """Return a file on this machine that holds what a URL does: the file itself, else a copy. Raises OSError."""
    if not is_url(path):
        yield path
        return
    with TemporaryDirectory() as folder:
        copy = os.path.join(folder, path.rsplit("/", 1)[-1])
        with open_input(path) as raw, open(copy, "wb") as target:
            shutil.copyfileobj(raw, target, BLOCK)
        yield copy


def peek_input(path: str) -> bytes:
    """Return the first HEAD_BYTES of a plain or gzip file, decompressed; none where it cannot be read."""
    try:
        with open_input(path) as raw:
            source = gzip.GzipFile(fileobj=raw) if raw.peek(2)[:2] == GZIP_MAGIC else raw
            return source.read(HEAD_BYTES)
    except (OSError, EOFError):
        return b""


def _open_filesystem(url: str) -> tuple[Any, str]:
    """Return the file system of a URL and the path in it. Raises ConfigError, MissingExtra."""
    try:
        from fsspec.core import url_to_fs
    except ImportError as e:
        raise MissingExtra("fsspec, which opens URLs,", "batch") from e
    try:
        files, place = url_to_fs(url)
    except ImportError as e:  # such as s3fs: fsspec says which
        raise ConfigError(f"{show_input(url)}: {_explain(e, url)}") from e
    except Exception as e:  # each store and each kind of archive has errors of its own
        raise ConfigError(f"{show_input(url)}: cannot be opened: {_explain(e, url)}") from e
    return files, os.fspath(place)


def _explain(error: Exception, url: str) -> str:
    """Return the first line of an error, which may quote the URL."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    for part in (url, *url.split("::")):
        line = line.replace(part, show_input(part))
    return line[:300]
