"""Runs a Python program that nobody has read: without network, without files of this machine, and with an end.

The walls are Linux's own, put up by an existing tool, bubblewrap: namespaces of their own for users, processes,
mounts, network and IPC; no capability; no further user namespaces. The program sees the interpreter with its
standard library and nothing else of this machine: no home, no project, no /etc, no /proc; an empty environment; one
small folder in memory to write to. Limits hold the time, the memory, the processes, the files and the output.

What it does not do: filter system calls (a hole in the kernel is a hole here), or count memory that is neither
mapped nor in a file (SysV segments; buffers of pipes). Programs written against *this* machine belong in a virtual
machine. Where there is no sandbox nothing is run: `NoSandbox` says what is missing.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import select
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

import msgspec

from routemoa.core.errors import NoSandbox

__all__ = ["ProgramResult", "run_program"]

MEBIBYTE = 1 << 20
FOLDER_BYTES = 16 * MEBIBYTE  # all that a program may write down
FILE_BYTES = 4 * MEBIBYTE
OPEN_FILES = 64
POLL_SECONDS = 0.05  # seconds between two looks at the memory of all processes together
NOBODY_ID = 65534
TRIAL_PROGRAM = "import os; os.waitpid(os.fork() or os._exit(0), 0); print('ready')"
INSTALL_HINT = "running code written by models needs bubblewrap: apt-get install bubblewrap"


class ProgramResult(msgspec.Struct, frozen=True):
    """How a program ended. `code` is its exit status (128 + n: signal n), None when it was stopped for `reason`."""

    exit_code: int | None
    output: str  # stdout and stderr together, cut at the limit
    reason: Literal["ended", "time", "memory", "output"]


class _ResourceLimits(msgspec.Struct, frozen=True):
    seconds: float
    memory: int
    processes: int
    output: int


def run_program(
    program: str,
    *,
    seconds: float = 10.0,
    memory: int = 512 * MEBIBYTE,
    processes: int = 32,
    output: int = 64 * 1024,
) -> ProgramResult:
    """Run `program` in a sandbox; when this returns, none of its processes is left.

    Args:
        program: the text of a Python program. It reads an empty standard input.
        seconds: of wall time.
        memory: in bytes, for each process and for all of them together.
        processes: and threads, at one time.
        output: in bytes; a program that says more is stopped.

    Raises:
        NoSandbox: bubblewrap is not installed or may not make namespaces here.
    """
    return _run_isolated(program, _isolation_command(), _ResourceLimits(seconds, memory, processes, output))


@functools.cache
def _isolation_command() -> tuple[str, ...]:
    """The command that puts up the walls, tried once."""
    walls = _build_isolation_command()
    trial = _run_isolated(TRIAL_PROGRAM, walls, _ResourceLimits(20.0, 512 * MEBIBYTE, 32, 64 * 1024))
    if trial.exit_code or trial.output.strip() != "ready":
        raise NoSandbox(f"bubblewrap does not work here: {trial.output.strip() or trial.reason}")
    return walls


def _build_isolation_command() -> tuple[str, ...]:
    found = {name: shutil.which(name) for name in ("bwrap", "prlimit", "setpriv")}
    if not found["bwrap"]:
        raise NoSandbox(INSTALL_HINT)
    missing = [name for name in ("prlimit", "setpriv") if not found[name]]
    if missing:
        raise NoSandbox(f"running code written by models needs {' and '.join(missing)}: apt-get install util-linux")
    bwrap = str(found["bwrap"])
    said = subprocess.run([bwrap, "--help"], capture_output=True, text=True, check=False).stdout  # noqa: S603
    # Folders are made by hand: those bubblewrap makes on the way to a file are closed to nobody.
    folders = [arg for path in ("/usr", "/etc", "/python", "/tools") for arg in ("--perms", "0755", "--dir", path)]
    tools = [arg for name, path in found.items() for arg in ("--ro-bind", str(path), f"/tools/{name}")]
    # Not all of /usr: in containers /usr/src/app is often somebody's project.
    system = folders + [
        arg for path in ("/usr/lib", "/usr/lib64", "/usr/lib32") for arg in ("--ro-bind-try", path, path)
    ]
    for path in ("/lib", "/lib64", "/lib32"):
        where = os.readlink(path) if Path(path).is_symlink() else ""
        system += ["--symlink", where, path] if where else ["--ro-bind-try", path, path]
    system += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    # The interpreter may live below $HOME (pyenv, uv): it moves to a place that says nothing about whose it is.
    base = sys.base_prefix
    python = [arg for d in ("bin", "lib", "lib64") for arg in ("--ro-bind-try", f"{base}/{d}", f"/python/{d}")]
    outer: list[str] = []
    if os.geteuid() == 0:
        # Root is exempt from the limit on processes, in a user namespace too, and "nobody" may not read below /root.
        # So a first layer shows the files to nobody, and nobody puts up the walls as any other user would.
        outer = [bwrap, "--die-with-parent", "--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        outer += [*system, *tools, *python, "--dev-bind", "/proc", "/proc", "--dev-bind", "/dev", "/dev"]
        outer += ["--dir", "/tmp", "--", "/tools/setpriv", "--reuid", str(NOBODY_ID), "--regid", str(NOBODY_ID)]  # noqa: S108
        outer += ["--clear-groups", "--pdeathsig", "keep"]
        bwrap = "/tools/bwrap"
        python = ["--ro-bind", "/python", "/python"]
        tools = ["--ro-bind", "/tools", "/tools"]
    walls = [bwrap, "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    walls += ["--disable-userns"] if "--disable-userns" in said else []  # since 0.8
    walls += ["--clearenv", "--setenv", "LANG", "C.UTF-8", "--setenv", "PYTHONHASHSEED", "0"]
    walls += ["--setenv", "LD_LIBRARY_PATH", "/python/lib", *system, *tools, *python]
    walls += ["--dev", "/dev", "--remount-ro", "/dev", "--size", str(FOLDER_BYTES), "--tmpfs", "/work", "--chdir", "/work"]
    return (*outer, *walls, "--remount-ro", "/")


def _run_isolated(program: str, walls: tuple[str, ...], most: _ResourceLimits) -> ProgramResult:
    limits = [f"--as={most.memory}", f"--nproc={most.processes}", f"--cpu={math.ceil(most.seconds) + 1}"]
    limits += [f"--fsize={FILE_BYTES}", f"--nofile={OPEN_FILES}", "--core=0"]
    # -S: the standard library alone, so that a verdict does not hang on what this machine has installed besides.
    python = [f"/python/bin/{Path(os.path.realpath(sys.executable)).name}", "-sSPB", "-"]
    hear, told = os.pipe()
    with tempfile.TemporaryFile() as text, os.fdopen(hear, "rb") as heard:
        text.write(program.encode("utf-8", "replace"))
        text.seek(0)
        try:
            process = subprocess.Popen(  # noqa: S603
                [*walls, "--json-status-fd", str(told), "--", "/tools/prlimit", *limits, "--", *python],
                stdin=text,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[told],
                start_new_session=True,
                env={},
                cwd="/",
            )
        finally:
            os.close(told)
        with process:
            said, reason = _read_until_end(process, most)
        status = {key: value for line in heard for key, value in json.loads(line).items()}
    if "child-pid" in status:
        _wait_for_exit(status["child-pid"])
    code = status.get("exit-code")
    shown = said.decode("utf-8", "replace")
    if reason == "ended" and code is None:  # bubblewrap itself failed: nothing was run, so nothing is judged
        raise NoSandbox(f"bubblewrap does not work here: {shown.strip()} (are user namespaces allowed?)")
    return ProgramResult(code if reason == "ended" else None, shown, reason)


def _read_until_end(
    process: subprocess.Popen[bytes], most: _ResourceLimits
) -> tuple[bytes, Literal["ended", "time", "memory", "output"]]:
    """Read what the program says until it ends or goes too far; then end whatever is left of it."""
    assert process.stdout is not None  # noqa: S101  (for the type checker)
    deadline = time.monotonic() + most.seconds
    said = bytearray()
    pipe = process.stdout.fileno()
    os.set_blocking(pipe, False)
    ended = os.pidfd_open(process.pid)
    try:
        with selectors.DefaultSelector() as ready:
            ready.register(pipe, selectors.EVENT_READ)
            ready.register(ended, selectors.EVENT_READ)
            while True:
                left = deadline - time.monotonic()
                files = {key.fd for key, _ in ready.select(max(0.0, min(left, POLL_SECONDS)))}
                if pipe in files:
                    piece = _read_available(pipe, most.output + 1 - len(said))
                    said += piece
                    if not piece:
                        ready.unregister(pipe)
                if len(said) > most.output:
                    return bytes(said[: most.output]), "output"
                if ended in files:
                    while piece := _read_available(pipe, most.output - len(said)):
                        said += piece
                    return bytes(said), "ended"
                if left <= 0:
                    return bytes(said), "time"
                if sum(_resident_bytes(pid) for pid in _list_descendants(process.pid)) > most.memory:
                    return bytes(said), "memory"
    finally:
        os.close(ended)
        # In one group: bubblewrap, and setpriv with the second bubblewrap. What they started dies with them.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _read_available(pipe: int, most: int) -> bytes:
    try:
        return os.read(pipe, most)
    except BlockingIOError:
        return b""


def _wait_for_exit(pid: int) -> None:
    """Wait until the first process of the sandbox is no more; the kernel ends it after all others in there."""
    with contextlib.suppress(ProcessLookupError):
        process = os.pidfd_open(pid)
        try:
            select.select([process], [], [], 5.0)
        finally:
            os.close(process)


def _list_descendants(pid: int) -> list[int]:
    """All descendants of a process, as this machine numbers them."""
    found: list[int] = []
    queue = [pid]
    while queue:
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{(parent := queue.pop())}/task/{parent}/children").read_text()
            queue += map(int, children.split())
            found += map(int, children.split())
    return found


def _resident_bytes(pid: int) -> int:
    """Bytes in memory, shared ones with each that shares them; 0 when the process is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
