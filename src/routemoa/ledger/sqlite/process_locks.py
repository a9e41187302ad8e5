"""Tell which processes are alive: each one that writes to a ledger holds a lock on a small file beside it.

The kernel releases the lock however the process ends, so that a file whose lock can be acquired belongs to a dead
process. Everything here runs within a write transaction of the ledger, so that two processes never do it at once.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

__all__ = ["ProcessLock"]


class ProcessLock:
    """The lock that marks this process as alive, from `acquire` to `release`. `id` is the owner in the ledger."""

    def __init__(self, store: Path) -> None:
        self.id = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._owners_folder = store.with_name(store.name + ".owners")
        self._lock: int | None = None
        self._stale: dict[Path, int] = {}  # files of dead processes -> their locks, which we hold now

    def acquire(self) -> None:
        """Create this process's file and lock it. Raises OSError."""
        self._owners_folder.mkdir(mode=0o700, exist_ok=True)
        self._lock = _try_lock(self._owners_folder / self.id, create=True)

    def live_owners(self) -> set[str]:
        """Return the ids of all live processes, this one included; lock the files of the dead ones."""
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

    @property
    def dead_owners(self) -> set[str]:
        """The ids of the dead processes whose files are locked now."""
        return {path.name for path in self._stale}

    def remove_stale(self) -> None:
        """Remove the files of dead processes; call it once their calls are settled."""
        for path, lock in self._stale.items():
            path.unlink(missing_ok=True)
            os.close(lock)
        self._stale.clear()

    def release_stale(self) -> None:
        """Unlock the files of dead processes, whose calls could not be settled now."""
        for lock in self._stale.values():
            os.close(lock)
        self._stale.clear()

    def release(self) -> None:
        """Remove this process's file: it no longer writes to the ledger."""
        self.release_stale()
        if self._lock is not None:
            (self._owners_folder / self.id).unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None


def _try_lock(path: Path, *, create: bool = False) -> int | None:
    """Return an open file that we have locked, None where another process holds it. Children do not inherit it."""
    try:
        file = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), 0o600)
    except FileNotFoundError:  # its process has closed the ledger and left no call open
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
