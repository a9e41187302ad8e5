"""Serve the embedded models with llama.cpp's server (xllamacpp), one child process for each weight file.

A model that crashes takes nothing else with it, and everything about a call (streaming, cancelling by closing the
connection, JSON schemas, log-probabilities) is the same HTTP as for any other endpoint. The children listen on
127.0.0.1 only, require a random key, and end when this process does, however it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import IO, cast

from routemoa.clients.local.runtime_check import explain_load_error
from routemoa.clients.weights import list_chat_weights, load_manifest
from routemoa.core.errors import MissingExtra, ModelError
from routemoa.core.types import Address, ModelSpec

__all__ = ["LocalRuntime"]

DEFAULT_CONTEXT = 4096
"""Tokens of one request, where neither the pool file nor the manifest sets it."""
LOAD_TIMEOUT = 120.0
"""Seconds."""
RELOAD_BLOCK = 600.0
"""Seconds after a first crash in which a second one means that loading once more would not help."""
PACKAGE_ROOT = str(Path(__file__).parents[3])
"""Where the child imports this package from, wherever that is."""
SERVE_SCRIPT = f"import sys; sys.path.append({PACKAGE_ROOT!r}); import routemoa.clients.local.child as m; m.serve()"


class LocalRuntime:
    """Serves the members whose endpoint is "local"; several threads and event loops may use it at once.

    A model is loaded once, when its address is first asked for. Members with the same weights and the same context
    share a process.

    Args:
        directory: where relative GGUF paths start.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._servers: dict[tuple[Path, int], _ModelServer] = {}
        self._closed = False
        self._stop_servers = weakref.finalize(self, _stop_all, self._servers)  # at exit, too

    async def address(self, model: ModelSpec) -> Address:
        """Return where a model listens; load it first if need be, which takes seconds.

        Raises:
            MissingExtra: xllamacpp is not installed.
            ModelError: the weights are missing, do not load, or the model keeps crashing.
        """
        path, context = self._find_weights(model)
        with self._lock:
            if self._closed:
                raise ModelError(model.name, "the embedded runtime is closed")
            server = self._servers.setdefault((path, context), _ModelServer(path, context))
            loading = server.load()
        try:
            return await asyncio.wrap_future(loading)
        except _LoadFailed as e:
            raise ModelError(model.name, str(e)) from e

    async def close(self) -> None:
        """Stop every child and free its memory (well under a second). Nothing can be loaded afterwards."""
        with self._lock:
            self._closed = True
        await asyncio.to_thread(self._stop_servers)

    def _find_weights(self, model: ModelSpec) -> tuple[Path, int]:
        """Return a model's weight file and its context in tokens. Raises MissingExtra, ModelError."""
        if importlib.util.find_spec("xllamacpp") is None:
            raise MissingExtra("xllamacpp", "local")
        if (weight := load_manifest().get(model.model)) and weight.context:
            if not weight.is_fetched:
                raise ModelError(
                    model.name, f"its weights are not fetched: run  routemoa pool fetch --only {weight.name}"
                )
            return weight.path, model.context or weight.context
        path = (self._directory / Path(model.model).expanduser()).resolve()
        if path.is_file():
            return path, model.context or DEFAULT_CONTEXT
        embedded = ", ".join(list_chat_weights())
        raise ModelError(
            model.name, f"model '{model.model}' is neither embedded ({embedded}) nor a file: {path} does not exist"
        )


class _LoadFailed(Exception):
    """Why a model's process is not there."""


class _ModelServer:
    """A weight file and the process that serves it. Its methods are quick but for `_load`, in a thread of its own."""

    def __init__(self, path: Path, context: int) -> None:
        self.path = path
        self.context = context
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._address: Future[Address] | None = None
        self._crashes: deque[float] = deque(maxlen=2)  # on the clock of `monotonic`
        self._crash_reason = ""
        self._errors: deque[str] = deque(maxlen=40)  # the last lines that the process wrote to stderr
        self._stopped = False

    def load(self) -> Future[Address]:
        """Return the address to come: of the process that is running or starting, else of a new one."""
        with self._lock:
            if self._address is not None and not self._address.done():
                return self._address
            if self._process is not None and self._process.poll() is not None:
                self._crashes.append(time.monotonic())
                self._crash_reason = _exit_reason(self._process, self._errors)
                self._discard_process()
            if self._process is not None and self._address is not None:
                return self._address
            self._address = Future()
            self._address.set_running_or_notify_cancel()  # a cancelled caller must not cancel it for the others
            if len(self._crashes) == 2 and time.monotonic() - self._crashes[0] < RELOAD_BLOCK:
                minutes = max(1, round((self._crashes[0] + RELOAD_BLOCK - time.monotonic()) / 60))
                reason = f"its process crashed twice ({self._crash_reason}); it is not loaded again for {minutes} min"
                self._address.set_exception(_LoadFailed(reason))
            else:
                threading.Thread(target=self._load, args=(self._address,), daemon=True).start()
            return self._address

    def stop(self) -> None:
        """Kill the process at once; it has nothing to save."""
        with self._lock:
            self._stopped = True
            self._discard_process()

    def _discard_process(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process = None

    def _load(self, address: Future[Address]) -> None:
        try:
            address.set_result(self._start_process())
        except (_LoadFailed, OSError, ValueError) as e:
            with self._lock:
                self._crashes.append(time.monotonic())
                self._crash_reason = "the embedded runtime was closed" if self._stopped else str(e)
                self._discard_process()
            address.set_exception(_LoadFailed(f"{self.path.name} did not load: {self._crash_reason}"))

    def _start_process(self) -> Address:
        """Start the process, send it its settings, and wait for its address. Raises _LoadFailed."""
        key = secrets.token_urlsafe(24)
        with self._lock:
            if self._stopped:
                raise _LoadFailed("the embedded runtime is closed")
            self._errors.clear()
            self._process = process = _open_process()
        settings = {"path": str(self.path), "context": self.context, "key": key, "parent": os.getpid()}
        settings |= {"threads": _count_generation_threads(), "batch_threads": _count_cores()}
        reader = threading.Thread(target=_collect_errors, args=(process, self._errors), daemon=True)
        reader.start()
        timer = threading.Timer(LOAD_TIMEOUT, process.kill)
        timer.daemon = True
        timer.start()
        try:
            stdin, stdout = cast("IO[str]", process.stdin), cast("IO[str]", process.stdout)
            stdin.write(json.dumps(settings) + "\n")
            stdin.flush()
            first_line = stdout.readline()
        finally:
            timer.cancel()
        if not first_line.startswith("http"):
            process.kill()
            process.wait()
            reader.join(1)
            raise _LoadFailed(_exit_reason(process, self._errors))
        return Address(f"{first_line.strip()}/v1", self.path.stem, key)


def _exit_reason(process: subprocess.Popen[str], errors: Sequence[str]) -> str:
    """Return why a process ended: the signal, else its first error without llama.cpp's time and level."""
    if (code := process.returncode) < 0 and not errors:
        return f"killed by {signal.Signals(-code).name}" + (": out of memory?" if code == -signal.SIGKILL else "")
    lines = [line for line in errors if line.strip()] or [f"exit code {code}"]
    chosen = next((line for line in lines if " E " in line), lines[-1])
    return explain_load_error(chosen.partition(" E ")[2] or chosen)


def _stop_all(servers: dict[tuple[Path, int], _ModelServer]) -> None:
    for server in list(servers.values()):
        server.stop()


def _open_process() -> subprocess.Popen[str]:
    """Start this interpreter again, out of reach of the terminal's signals; it waits for its settings."""
    return subprocess.Popen(  # noqa: S603  our own interpreter and our own code
        [sys.executable, "-P", "-c", SERVE_SCRIPT],
        # Passive: OpenMP's threads that wait for work would otherwise spin on every core.
        env={**os.environ, "OMP_WAIT_POLICY": "passive"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )


def _collect_errors(process: subprocess.Popen[str], errors: deque[str]) -> None:
    """Keep the last lines that a process writes to stderr."""
    with cast("IO[str]", process.stderr) as lines:
        for line in lines:
            errors.append(line.rstrip())


def _count_generation_threads() -> int:
    """Return the threads with which one model generates: half the cores.

    Generating waits for memory, not for arithmetic, and threads that wait for each other at every token lose whenever
    something else runs. Measured on two busy cores, three models with 100 tokens each: at the same time 7 s with one
    thread each and 8 s with two, one after the other 8 s and 11 s. Prompts are arithmetic and take all cores: with
    two, 450 tokens/s instead of 240 (SmolLM2), 206 instead of 107 (0.5B).
    """
    return max(1, _count_cores() // 2)


def _count_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
