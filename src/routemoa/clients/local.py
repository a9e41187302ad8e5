"""The embedded pool: llama.cpp's server (xllamacpp), one child process for each weight file.

A model that dies takes nothing else with it, and everything about a call (streaming, cancelling by closing the
connection, JSON schemas, log-probabilities) is the same HTTP as for any other endpoint. The children listen on
127.0.0.1 only, ask for a random key, and end when this process does, however it ends.
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

from routemoa.clients.weights import load_manifest
from routemoa.core.errors import MissingExtra, ModelError
from routemoa.core.types import Address, ModelSpec

__all__ = ["LocalRuntime"]

DEFAULT_CONTEXT = 4096  # tokens of one request, where neither the pool file nor the manifest says
SLOTS = 4  # requests of one model under way at once; further ones wait their turn in the server
HTTP_THREADS = 64  # a waiting request or an idle kept connection holds one; they cost next to nothing
PROMPT_BATCH = 256  # prompt tokens at a time: a cancelled prompt and the other slots wait for one batch, not for 2048 tokens
PROMPT_CACHE_MIB = 128  # MiB of prompts a child may keep besides its slots (llama.cpp's default is 8192)
LOAD_TIMEOUT = 120.0  # seconds
RELOAD_BLOCK = 600.0  # seconds in which a second death means that loading yet again would not help
PACKAGE_ROOT = str(Path(__file__).parents[2])  # of the package, wherever it is imported from
SERVE_SCRIPT = f"import sys; sys.path.append({PACKAGE_ROOT!r}); import routemoa.clients.local as m; m.serve()"


class LocalRuntime:
    """Serves the members whose endpoint is "local"; usable from several threads and event loops at once.

    A model is loaded when it is first asked for, and once; members with the same weights and the same context
    share it. `directory` is where relative GGUF paths start.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._servers: dict[tuple[Path, int], _ModelServer] = {}
        self._closed = False
        self._stop_servers = weakref.finalize(self, _stop_all, self._servers)  # at exit, too

    async def address(self, model: ModelSpec) -> Address:
        """Load the model if need be (seconds) and say where it listens.

        Raises:
            MissingExtra: xllamacpp is not installed.
            ModelError: the weights are missing, do not load, or the model keeps dying.
        """
        key = self._find_weights(model)
        with self._lock:
            if self._closed:
                raise ModelError(model.name, "the embedded runtime is closed")
            child = self._servers.setdefault(key, _ModelServer(key[0], key[1]))
            loading = child.load()
        try:
            return await asyncio.wrap_future(loading)
        except _LoadFailed as e:
            raise ModelError(model.name, str(e)) from e

    async def close(self) -> None:
        """End every child and free its memory (well under a second). Afterwards nothing can be loaded."""
        with self._lock:
            self._closed = True
        await asyncio.to_thread(self._stop_servers)

    def _find_weights(self, model: ModelSpec) -> tuple[Path, int]:
        if importlib.util.find_spec("xllamacpp") is None:
            raise MissingExtra("xllamacpp", "local")
        if (weight := load_manifest().get(model.model)) and weight.context:
            if not weight.is_fetched:
                raise ModelError(model.name, f"its weights are not here: run  routemoa pool fetch --only {weight.name}")
            return weight.path, model.context or weight.context
        path = (self._directory / Path(model.model).expanduser()).resolve()
        if path.is_file():
            return path, model.context or DEFAULT_CONTEXT
        raise ModelError(
            model.name,
            f"model '{model.model}' is neither embedded ({', '.join(load_manifest())}) nor a file: {path} does not exist",
        )


class _LoadFailed(Exception):
    """Why a child is not there."""


class _ModelServer:
    """One weight file and the process that serves it. Everything here is quick but `_start`, in its own thread."""

    def __init__(self, path: Path, context: int) -> None:
        self.path = path
        self.context = context
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._address: Future[Address] | None = None
        self._crashes: deque[float] = deque(maxlen=2)
        self._errors: deque[str] = deque(maxlen=40)
        self._crash_reason = ""  # why it died
        self._stopped = False

    def load(self) -> Future[Address]:
        """The address to come: of the process that is there or on its way, else of a new one."""
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
            self._address.set_running_or_notify_cancel()  # a caller who gives up must not cancel it for the others
            if len(self._crashes) == 2 and time.monotonic() - self._crashes[0] < RELOAD_BLOCK:
                minutes = max(1, round((self._crashes[0] + RELOAD_BLOCK - time.monotonic()) / 60))
                self._address.set_exception(
                    _LoadFailed(f"its process died twice ({self._crash_reason}); it is not loaded again for {minutes} min")
                )
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
        alarm = threading.Timer(LOAD_TIMEOUT, process.kill)
        alarm.daemon = True
        alarm.start()
        try:
            stdin, stdout = cast("IO[str]", process.stdin), cast("IO[str]", process.stdout)
            stdin.write(json.dumps(settings) + "\n")
            stdin.flush()
            said = stdout.readline()
        finally:
            alarm.cancel()
        if not said.startswith("http"):
            process.kill()
            process.wait()
            reader.join(1)
            raise _LoadFailed(_exit_reason(process, self._errors))
        return Address(f"{said.strip()}/v1", self.path.stem, key)


def _exit_reason(process: subprocess.Popen[str], errors: Sequence[str]) -> str:
    """Why a process ended: the signal, else its first error without llama.cpp's time and level."""
    if (code := process.returncode) < 0 and not errors:
        return f"killed by {signal.Signals(-code).name}" + (": out of memory?" if code == -signal.SIGKILL else "")
    lines = [line for line in errors if line.strip()] or [f"exit code {code}"]
    chosen = next((line for line in lines if " E " in line), lines[-1])
    return chosen.partition(" E ")[2] or chosen


def _stop_all(children: dict[tuple[Path, int], _ModelServer]) -> None:
    for child in list(children.values()):
        child.stop()


def _open_process() -> subprocess.Popen[str]:
    """The child of this interpreter, out of reach of the terminal's signals; it waits for its settings."""
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
    """Keep the last lines of what the child complains about."""
    with cast("IO[str]", process.stderr) as lines:
        for line in lines:
            errors.append(line.rstrip())


def _count_generation_threads() -> int:
    """Threads for generating, of one model.

    Half the cores: generating waits for memory, not for arithmetic, and threads that wait for each other at every
    token lose whenever something else runs. Measured on two busy cores, three models with 100 tokens each: at the
    same time 7 s with one thread each and 8 s with two, one after the other 8 s and 11 s. Prompts are arithmetic
    and take all cores: with two, 450 tokens/s instead of 240 (SmolLM2), 206 instead of 107 (0.5B).
    """
    return max(1, _count_cores() // 2)


def _count_cores() -> int:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def serve() -> None:
    """The child: read the settings, load the model, say the address, and serve until the parent is gone."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # nothing but the address goes to the parent's ear
    settings = json.loads(sys.stdin.readline())
    threading.Thread(target=_exit_with_parent, args=(settings["parent"],), daemon=True).start()

    import xllamacpp

    p = xllamacpp.CommonParams()
    p.model.path = settings["path"]
    p.model_alias = {Path(settings["path"]).stem}
    p.hostnames, p.port, p.api_keys = ["127.0.0.1"], 0, [settings["key"]]
    p.n_parallel, p.n_ctx = SLOTS, SLOTS * settings["context"]  # n_ctx is the sum over the slots
    p.cpuparams.n_threads, p.cpuparams_batch.n_threads = settings["threads"], settings["batch_threads"]
    p.n_threads_http = HTTP_THREADS
    p.cache_ram_mib = PROMPT_CACHE_MIB
    p.ui = p.endpoint_slots = p.endpoint_props = p.endpoint_metrics = False
    p.n_batch = p.n_ubatch = PROMPT_BATCH
    p.verbosity = 1  # errors only
    try:
        server = xllamacpp.Server(p)
    except RuntimeError as e:
        sys.stderr.write(f"{e}\n")
        sys.stderr.flush()
        os._exit(1)
    out.write(f"{server.listening_address}\n")
    out.flush()
    threading.Event().wait()


def _exit_with_parent(parent: int) -> None:
    """End at once when the parent closes its end or is another one by now. (PR_SET_PDEATHSIG would not do: it is
    sent when the *thread* that started us ends.)"""
    import select

    while os.getppid() == parent:
        if select.select([0], [], [], 2.0)[0] and not os.read(0, 1):
            break
    os._exit(0)
