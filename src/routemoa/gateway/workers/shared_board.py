"""What each worker of a server does, in a file of its own, so that the page of any of them shows all.

While a page Live is open, the worker that serves it touches a file; the others then write down their moment once a
second. Otherwise a worker looks at the time of that one file, and does no more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from routemoa.gateway.telemetry.live_board import WorkerMoment

__all__ = ["BoardExchange"]

PUBLISH_SECONDS = 1.0
WATCHED_SECONDS = 5.0
"""After which nobody looks any more, and after which a moment is that of a dead worker."""


class BoardExchange:
    """Writes down the moments of this worker while they are looked at, and reads those of the others.

    Args:
        folder: of the moments.
        number: of this worker, from 1.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self._folder, self.number = folder, number
        self._file, self._watched = folder / f"live-{number}", folder / "watched"
        self.collect: Callable[[], WorkerMoment] | None = None
        """Returns the moment of this worker."""

    async def watch(self) -> None:
        """Write the moment down from time to time while it is looked at, for ever."""
        while True:
            if self.collect is not None and self._is_watched():
                await asyncio.to_thread(_write, self._file, msgspec.msgpack.encode(self.collect()))
            await asyncio.sleep(PUBLISH_SECONDS)

    def list_others(self) -> list[WorkerMoment]:
        """Return the moments of the other workers, as far as they are of now; ask for further ones. Blocks."""
        with suppress(OSError):
            self._watched.touch()
        files = [file for file in sorted(self._folder.glob("live-*")) if file != self._file]
        now = time.monotonic()
        return [moment for file in files if (moment := _read(file)) is not None and now - moment.at < WATCHED_SECONDS]

    def _is_watched(self) -> bool:
        with suppress(OSError):
            return time.time() - self._watched.stat().st_mtime < WATCHED_SECONDS
        return False


def _fresh(file: Path) -> Path:
    return file.with_name(f"new-{file.name}")


def _read(file: Path) -> WorkerMoment | None:
    with suppress(OSError, msgspec.DecodeError):
        return msgspec.msgpack.decode(file.read_bytes(), type=WorkerMoment)
    return None


def _write(file: Path, data: bytes) -> None:
    with suppress(OSError):
        _fresh(file).write_bytes(data)
        _fresh(file).replace(file)
