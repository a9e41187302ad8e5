"""A real Redis server for tests, on a free port, with a password and with or without a memory that outlives it."""

from __future__ import annotations

import importlib.util
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from routemoa.ledger.location import SharedUrl

__all__ = ["RedisServer", "start_redis"]

PASSWORD = "not-secret"


class RedisServer:
    """A server in a folder of its own.

    Args:
        keeps: whether it knows after a restart what it knew before.
    """

    def __init__(self, *, keeps: bool = False) -> None:
        self._folder = tempfile.mkdtemp(prefix="routemoa-redis-")
        self._keeps = keeps
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._databases = iter(range(1000))
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = {"port": self.port, "bind": "127.0.0.1", "dir": self._folder, "requirepass": PASSWORD}
        settings |= {"save": "", "appendonly": "yes" if self._keeps else "no", "databases": 1000}
        options = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
        self.process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
        end = time.monotonic() + 10
        while self.execute("PING") != "PONG":
            assert time.monotonic() < end, "redis-server does not answer"
            time.sleep(0.01)

    def kill(self) -> None:
        """Kill it as the kernel does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, such as SIGSTOP."""
        self.process.send_signal(number)

    def execute(self, *command: str, database: int = 0) -> str | None:
        """Return the first line of the answer to a command; None where there is no server."""
        parts = [("AUTH", PASSWORD), ("SELECT", str(database)), command]
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as s, s.makefile("rwb") as file:
                for part in parts:
                    file.write(f"*{len(part)}\r\n".encode() + b"".join(f"${len(p)}\r\n{p}\r\n".encode() for p in part))
                file.flush()
                return [file.readline().decode().strip().lstrip("+:") for _ in parts][-1]
        except OSError:
            return None

    def new_url(self) -> SharedUrl:
        """Return the URL of an empty database."""
        return SharedUrl(f"redis://:{PASSWORD}@127.0.0.1:{self.port}/{next(self._databases)}")

    def remove(self) -> None:
        """End it and remove its folder."""
        if self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.kill()
        shutil.rmtree(Path(self._folder), ignore_errors=True)


@contextmanager
def start_redis(*, keeps: bool = False) -> Iterator[RedisServer]:
    """Run a server; the test is skipped where there is none to run."""
    if shutil.which("redis-server") is None or importlib.util.find_spec("redis") is None:
        pytest.skip("Redis is not installed: apt-get install redis-server; pip install routemoa[redis]")
    server = RedisServer(keeps=keeps)
    try:
        yield server
    finally:
        server.remove()
