"""Run work that may hang or need much memory in worker processes: started on first use, reused, killed at a limit.

A worker reads one JSON value a line from standard input and writes one JSON value a line for each. It limits its own
memory and processor time (`limit_resources`, `limit_cpu_time`); at a limit it ends, and a new worker takes the next
question. It ends with this process: an idle one at the end of its input, a busy one by its processor time.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from typing import Any, Final

__all__ = ["WorkerPool", "limit_cpu_time", "limit_resources"]

MEMORY_BYTES = 2 << 30  # of address space
CPU_SECONDS = 4  # for one question
MAX_WAIT_SECONDS = 60.0  # by the clock, for a worker that does not use the processor, or a busy machine
KEPT_ENVIRONMENT = ("PATH", "SYSTEMROOT", "LANG", "LC_ALL", "TMPDIR")  # API keys are not among them


class WorkerPool:
    """Answers questions in processes that run a module; threads may ask at the same time.

    Args:
        module: what `python -m` runs.
        workers: how many processes at most.
        max_wait: seconds by the clock until a worker that does not reply is killed.
    """

    def __init__(self, module: str, *, workers: int = 2, max_wait: float = MAX_WAIT_SECONDS) -> None:
        self._module: Final = module
        self._workers: Final = workers
        self._max_wait: Final = max_wait
        self._reset()
        atexit.register(self.close)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._abandon_workers)

    def _reset(self) -> None:
        self._slots: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(self._workers):
            self._slots.put(None)
        self._lock = threading.Lock()
        self._idle: list[subprocess.Popen[bytes]] = []
        self._busy: set[subprocess.Popen[bytes]] = set()

    def ask(self, question: object) -> Any:
        """Return the answer to a question; None where the worker ended without one or took too long."""
        slots = self._slots
        slots.get()
        worker: subprocess.Popen[bytes] | None = None
        is_reusable = False
        try:
            worker = self._acquire()
            answer = _exchange(worker, json.dumps(question).encode(), self._max_wait)
            is_reusable = answer is not None
            return json.loads(answer) if answer is not None else None
        finally:  # after an interrupt the worker's late answer would be taken for that to the next question
            if worker is not None:
                self._release(worker, is_reusable)
            slots.put(None)

    def close(self) -> None:
        """End all workers; a question in progress is answered None."""
        with self._lock:
            idle, self._idle = self._idle, []
            for worker in self._busy:
                worker.kill()
        for worker in idle:
            _end(worker)

    def _acquire(self) -> subprocess.Popen[bytes]:
        with self._lock:
            worker = self._idle.pop() if self._idle else None
            if worker is None:
                worker = _start(self._module)
            self._busy.add(worker)
        return worker

    def _release(self, worker: subprocess.Popen[bytes], is_reusable: bool) -> None:
        with self._lock:
            self._busy.discard(worker)
            if is_reusable and worker.poll() is None:
                self._idle.append(worker)
                return
        _end(worker)

    def _abandon_workers(self) -> None:
        """Let go of the workers in a forked child: they belong to the parent."""
        for worker in (*self._idle, *self._busy):
            worker.returncode = 0
            _close_pipes(worker)
        self._reset()


def _start(module: str) -> subprocess.Popen[bytes]:
    environment = {k: os.environ[k] for k in KEPT_ENVIRONMENT if k in os.environ}
    environment |= {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "PYTHONHASHSEED": "0"}
    return subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-P", "-W", "ignore", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,  # Ctrl-C goes to this process alone
    )


def _exchange(worker: subprocess.Popen[bytes], line: bytes, max_wait: float) -> bytes | None:
    """Send a line and return the line that comes back, or None; the worker is killed after `max_wait` seconds."""
    if worker.stdin is None or worker.stdout is None:
        return None
    watchdog = threading.Timer(max_wait, worker.kill)
    watchdog.daemon = True
    watchdog.start()
    try:
        worker.stdin.write(line + b"\n")
        worker.stdin.flush()
        answer = worker.stdout.readline()
    except BrokenPipeError:
        return None
    finally:
        watchdog.cancel()
    return answer if answer.endswith(b"\n") else None


def _end(worker: subprocess.Popen[bytes]) -> None:
    worker.kill()
    worker.wait()
    _close_pipes(worker)


def _close_pipes(worker: subprocess.Popen[bytes]) -> None:
    for pipe in (worker.stdin, worker.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # the reader of what is still buffered is gone
                pipe.close()


def limit_resources(memory: int = MEMORY_BYTES) -> None:
    """Allow a worker `memory` bytes of address space, no files to be written and no core dumps."""
    if sys.platform == "win32":
        return
    import resource

    limits = {resource.RLIMIT_AS: memory, resource.RLIMIT_FSIZE: 0, resource.RLIMIT_CORE: 0}
    for limit, value in limits.items():
        with contextlib.suppress(ValueError, OSError):  # not every system supports every limit
            resource.setrlimit(limit, (value, value))


def limit_cpu_time(seconds: int = CPU_SECONDS) -> None:
    """Allow a worker `seconds` of processor time from now on; then the system ends it."""
    if sys.platform == "win32":
        return
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + seconds + 1, hard))
