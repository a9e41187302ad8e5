"""A table in a file that the processes of one machine share: entries of one size, found by a name.

The file is mapped into memory and locked for some microseconds at a time, so an event loop may use it: an operation
takes 2 us, where a transaction of SQLite takes 13 us. The kernel releases the lock of a process that is killed. An
entry is forgotten at a time that is given with it, and its place used again.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import math
import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path

__all__ = ["SharedTable", "digest_name"]

HEAD = struct.Struct("16sd")
"""The digest of the name; and until when the entry is kept, on the clock of `monotonic()`, which processes share."""
NO_DIGEST = bytes(16)
PROBES = 32
"""Places in which an entry may be; of more entries than that, the one that would be forgotten first gives way."""
RETRY_SECONDS = 0.0003
"""Until another process is asked again to give up the lock."""


class SharedTable:
    """Entries of `size` bytes. Lock the table before reading or writing it.

    Args:
        path: the file; it is created where there is none.
        size: bytes of an entry.
        places: entries at most; the file takes disk space for those alone that were used.
    """

    def __init__(self, path: Path, size: int, places: int = 16_384) -> None:
        self._places, self._step = places, HEAD.size + size
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.ftruncate(self._file, places * self._step)
        self._memory = mmap.mmap(self._file, places * self._step)

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        if not self._memory.closed:
            self._memory.close()
            os.close(self._file)

    # --- the lock

    def try_lock(self) -> bool:
        """Lock the table, unless another process has locked it; never waits."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    async def lock(self) -> None:
        """Lock the table, without blocking the event loop. Await nothing until it is unlocked."""
        while not self.try_lock():  # noqa: ASYNC110  (another process holds it)
            await asyncio.sleep(RETRY_SECONDS)

    def unlock(self) -> None:
        """Unlock the table."""
        fcntl.flock(self._file, fcntl.LOCK_UN)

    # --- entries

    def read(self, digest: bytes, now: float) -> bytes | None:
        """Return an entry, None where there is none that is still kept."""
        at, found = self._find(digest)
        if not found or HEAD.unpack_from(self._memory, at)[1] <= now:
            return None
        return self._memory[at + HEAD.size : at + self._step]

    def write(self, digest: bytes, entry: bytes | bytearray, until: float) -> None:
        """Write an entry, which is kept until then."""
        at, _ = self._find(digest)
        self._memory[at + HEAD.size : at + HEAD.size + len(entry)] = entry
        HEAD.pack_into(self._memory, at, digest, until)

    def digests(self) -> Iterator[bytes]:
        """Yield the digests of all entries that were ever written, as far as others have not taken their place."""
        for at in range(0, len(self._memory), self._step):
            if (digest := self._memory[at : at + len(NO_DIGEST)]) != NO_DIGEST:
                yield digest

    def _find(self, digest: bytes) -> tuple[int, bool]:
        """Return where an entry is, or else where it may be written; and whether it is there."""
        first = int.from_bytes(digest[:4], "big")
        soonest, until = 0, math.inf
        for i in range(PROBES):
            at = (first + i) % self._places * self._step
            there, kept = HEAD.unpack_from(self._memory, at)
            if there == digest:
                return at, True
            if there == NO_DIGEST:
                return at, False
            if i == 0 or kept < until:
                soonest, until = at, kept
        return soonest, False


def digest_name(name: str) -> bytes:
    """Return the digest of a name."""
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=len(NO_DIGEST)).digest()
