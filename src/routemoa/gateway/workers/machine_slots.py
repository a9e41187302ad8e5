"""Numbers for processes that serve one pool on one machine and have no supervisor: each takes the first free one."""

from __future__ import annotations

import fcntl
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from routemoa.core.errors import ConfigError
from routemoa.core.tables.server_table import MAX_WORKERS

__all__ = ["MachineFolder"]

SECRET_BYTES = 32


class MachineFolder:
    """The folder of what the processes of one application share on this machine.

    The kernel gives a number back when its process ends, however it does.

    Args:
        name: of the application; two of the same name share the folder.

    Raises:
        ConfigError: another user has made a folder of this name.
    """

    def __init__(self, name: str) -> None:
        self.path = Path(tempfile.gettempdir()) / f"routemoa-{os.getuid()}-{name}"
        self.path.mkdir(mode=0o700, exist_ok=True)
        if self.path.is_symlink() or self.path.stat().st_uid != os.getuid():
            raise ConfigError(f"{self.path} belongs to another user; remove it, or set TMPDIR to a folder of your own")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let no other process be in this block; waits for it."""
        lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def take_number(self) -> int:
        """Take the first free number, from 1, until this process ends. Raises ConfigError."""
        for number in range(1, MAX_WORKERS + 1):
            lock = os.open(self.path / f"number-{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
            else:
                return number  # the descriptor stays open, and so does the lock
        raise ConfigError(f"{MAX_WORKERS} processes serve this application on this machine, which is the most")

    def read_secret(self) -> bytes:
        """Return the secret of the application on this machine; the first process makes it. Call it `alone`."""
        file = self.path / "secret"
        if not file.exists():
            file.touch(mode=0o600)
            file.write_bytes(secrets.token_bytes(SECRET_BYTES))
        return file.read_bytes()
