"""A real PostgreSQL server for tests: made from Debian's programs in a temporary folder, as an unprivileged user."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

from routemoa.ledger.location import StoreUrl

__all__ = ["PostgresServer", "find_programs"]

USER = "moa"


def find_programs() -> Path | None:
    """Return the folder of initdb and pg_ctl, of the newest version; None where there is none."""
    folders = [p.parent for p in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    named = shutil.which("initdb")
    folders += [Path(named).resolve().parent] if named else []
    return max(folders, key=lambda p: p.parts[-2].zfill(4), default=None)


class PostgresServer:
    """A server on a free port of this machine, in a folder of its own.

    Args:
        programs: where initdb and pg_ctl are.
        synced: wait for the disk, as a real server does. What a process has written outlives it without, too.
        folder, port: of a server that another process has made.
    """

    def __init__(self, programs: Path, *, synced: bool = False, folder: str | None = None, port: int = 0) -> None:
        self._programs = programs
        self._options = "" if synced else "-c fsync=off -c full_page_writes=off"
        self._account = _find_account()
        self.folder = folder or tempfile.mkdtemp(prefix="routemoa-pg-")
        self.port = port or _free_port()
        if folder is None:
            if self._account:
                os.chown(self.folder, self._account.pw_uid, self._account.pw_gid)
            self._run("initdb", "-D", self._data, "-U", USER, "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync")
            self.start()

    @property
    def _data(self) -> str:
        return f"{self.folder}/data"

    def start(self) -> None:
        """Start it; processes of before may need a moment to end."""
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c max_connections=60 "
        options += self._options
        end = time.monotonic() + 20
        while True:
            try:
                self._run("pg_ctl", "-D", self._data, "-w", "-s", "-o", options, "-l", f"{self.folder}/log", "start")
                return
            except subprocess.CalledProcessError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def stop(self) -> None:
        """Stop it as a failing machine does, without a shutdown of connections."""
        self._run("pg_ctl", "-D", self._data, "-w", "-s", "-m", "immediate", "stop")

    def kill(self) -> None:
        """Kill all its processes."""
        self.signal(signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all its processes, such as SIGSTOP."""
        postmaster = psutil.Process(int(Path(self._data, "postmaster.pid").read_text().split()[0]))
        for process in [postmaster, *postmaster.children(recursive=True)]:
            process.send_signal(number)

    def remove(self) -> None:
        """End it and remove its folder."""
        try:
            self.kill()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str, *, port: int | None = None) -> StoreUrl:
        """Return the URL of a database."""
        return StoreUrl(f"postgresql://{USER}:not-secret@127.0.0.1:{port or self.port}/{database}")

    def make_database(self) -> StoreUrl:
        """Make an empty database and return its URL."""
        name = f"t{uuid4().hex[:12]}"
        self.execute("postgres", f"CREATE DATABASE {name}")
        return self.url(name)

    def execute(self, database: str, statement: str) -> list[tuple[object, ...]]:
        """Execute a statement as an outsider; return the rows, if there are any."""
        import psycopg

        with psycopg.connect(self.url(database).secret, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    def _run(self, program: str, *arguments: str) -> None:
        who: dict[str, object] = {}
        if self._account:
            who = {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}
        command: Sequence[str | Path] = [self._programs / program, *arguments]
        subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **who)  # type: ignore[call-overload]


def _find_account() -> Any:
    """Return the account that the server runs as, where we are root: it refuses to be."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return None
    import pwd

    return pwd.getpwnam("postgres")


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port
