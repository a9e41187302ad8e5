"""Who is alive: each process that writes to a store holds a lock on a small file beside it.

The kernel lets go of the lock however the process ends, so a file whose lock can be had belongs to a dead one.
Everything here happens within a write transaction of the store's, which keeps two processes from meeting.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

__all__ = ["ProcessLock"]


class ProcessLock:
    """This process, as others see it, from `join` to `leave`."""

    def __init__(self, store: Path) -> None:
        self.id = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._owners_folder = store.with_name(store.name + ".owners")
        self._lock: int | None = None
        self._stale: dict[Path, int] = {}  # files of dead processes, with the locks that were had

    def acquire(self) -> None:
        """Make the file and lock it. Raises OSError."""
        self._owners_folder.mkdir(mode=0o700, exist_ok=True)
        self._lock = _try_lock(self._owners_folder / self.id, create=True)

    def live_owners(self) -> set[str]:
        """The ids of all processes that live, this one among them; the files of the others are kept for `bury`."""
        alive = {self.id}
        for path in self._owners_folder.iterdir():
            if path.name == self.id or path in self._stale:
                continue
            lock = _try_lock(path)
            if lock is None:
                alive.add(path.name)
            else:
                self._stale[path] = lock
        return alive

    def remove_stale(self) -> None:
        """Remove the files of dead processes; called when their calls are settled."""
        for path, lock in self._stale.items():
            path.unlink(missing_ok=True)
            os.close(lock)
        self._stale.clear()

    def release_stale(self) -> None:
        """Let go of the files of dead processes: their calls could not be settled now."""
        for lock in self._stale.values():
            os.close(lock)
        self._stale.clear()

    def release(self) -> None:
        """This process ends its work on the store."""
        self.release_stale()
        if self._lock is not None:
            (self._owners_folder / self.id).unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None


def _try_lock(path: Path, *, create: bool = False) -> int | None:
    """An open file whose lock is ours; None where somebody else has it. Not inherited by child processes."""
    try:
        file = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), 0o600)
    except FileNotFoundError:  # its process has left in good order; nothing of it is open
        return None
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return None
    return file
