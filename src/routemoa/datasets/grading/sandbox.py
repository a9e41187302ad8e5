"""Run untrusted Python code: without network or files of this machine, within limits.

Linux isolates it, set up by bubblewrap: namespaces of their own for users, processes, mounts, network and IPC; no
capability; no further user namespaces. The program sees the interpreter with its standard library and nothing else of
this machine: no home, no project, no /etc, no /proc; an empty environment; one small folder in memory to write to.
Time, memory, processes, files and output are limited.

Memory counts for good: system calls whose memory no limit sees (memfd, System V, message queues, io_uring) are refused;
what buffers of pipes hold is bounded by the kernel for each user. Not covered: other system calls are not filtered (a
hole in the kernel is a hole here). Run programs written to attack *this* machine in a virtual machine. Where there is
no sandbox nothing is run: `NoSandbox` says what is missing.
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
from typing import IO, Literal

import msgspec

from routemoa.core.errors import NoSandbox
from routemoa.datasets.grading.seccomp_filter import build_filter

__all__ = ["EndReason", "ProgramResult", "find_sandbox_fault", "run_program"]

MEBIBYTE = 1 << 20
FOLDER_BYTES = 16 * MEBIBYTE  # that a program may write in all
FILE_BYTES = 4 * MEBIBYTE
OPEN_FILES = 64
POLL_SECONDS = 0.05  # between two checks of the memory of all processes together
EXIT_WAIT_SECONDS = 5.0
NOBODY_ID = 65534
TRIAL_PROGRAM = "import os; os.waitpid(os.fork() or os._exit(0), 0); print('ready')"
INSTALL_HINT = "running code written by models needs bubblewrap: apt-get install bubblewrap"

EndReason = Literal["ended", "time", "memory", "output"]
"""Why a program is over: by itself, or stopped at a limit."""


class ProgramResult(msgspec.Struct, frozen=True):
    """How a program ended."""

    exit_code: int | None
    """128 + n for signal n; None where the program was stopped."""
    output: str
    """Standard output and standard error together, cut at the limit."""
    reason: EndReason


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
        program: the text of a Python program. Its standard input is empty.
        seconds: of wall time.
        memory: in bytes, for each process and for all of them together.
        processes: and threads, at one time.
        output: in bytes; a program that writes more is stopped.

    Raises:
        NoSandbox: bubblewrap is not installed or may not make namespaces here.
    """
    return _run_isolated(program, _isolation_command(), _ResourceLimits(seconds, memory, processes, output))


def find_sandbox_fault() -> str | None:
    """Return why no code can be run on this machine, and what to do; None where it can."""
    try:
        _isolation_command()
    except NoSandbox as e:
        return str(e)
    return None


@functools.cache
def _isolation_command() -> tuple[str, ...]:
    """Return the command that isolates what follows it, tried once. Raises NoSandbox."""
    command = _build_isolation_command()
    trial = _run_isolated(TRIAL_PROGRAM, command, _ResourceLimits(20.0, 512 * MEBIBYTE, 32, 64 * 1024))
    if trial.exit_code or trial.output.strip() != "ready":
        raise NoSandbox(f"bubblewrap does not work here: {trial.output.strip() or trial.reason}")
    return command


def _build_isolation_command() -> tuple[str, ...]:
    """Return the arguments of bubblewrap, or of two in a row where this process is root. Raises NoSandbox."""
    paths = _find_tools()
    help_text = subprocess.run([paths["bwrap"], "--help"], capture_output=True, text=True, check=False).stdout  # noqa: S603
    system = _system_mounts()
    tools = [arg for name, path in paths.items() for arg in ("--ro-bind", path, f"/tools/{name}")]
    # The interpreter may be below $HOME (pyenv, uv): it is mounted at a path that does not show whose it is.
    base = sys.base_prefix
    python = [arg for d in ("bin", "lib", "lib64") for arg in ("--ro-bind-try", f"{base}/{d}", f"/python/{d}")]
    bwrap = paths["bwrap"]
    outer: list[str] = []
    if os.geteuid() == 0:
        outer = _drop_root(bwrap, [*system, *tools, *python])
        bwrap = "/tools/bwrap"
        python = ["--ro-bind", "/python", "/python"]
        tools = ["--ro-bind", "/tools", "/tools"]
    inner = [bwrap, "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    inner += ["--disable-userns"] if "--disable-userns" in help_text else []  # since bubblewrap 0.8
    inner += ["--clearenv", "--setenv", "LANG", "C.UTF-8", "--setenv", "PYTHONHASHSEED", "0"]
    inner += ["--setenv", "LD_LIBRARY_PATH", "/python/lib", *system, *tools, *python]
    inner += ["--dev", "/dev", "--remount-ro", "/dev"]
    inner += ["--size", str(FOLDER_BYTES), "--tmpfs", "/work", "--chdir", "/work"]
    return (*outer, *inner, "--remount-ro", "/")


def _find_tools() -> dict[str, str]:
    """Return the paths of bwrap, prlimit and setpriv. Raises NoSandbox where one is missing."""
    paths = {name: path for name in ("bwrap", "prlimit", "setpriv") if (path := shutil.which(name))}
    if "bwrap" not in paths:
        raise NoSandbox(INSTALL_HINT)
    missing = [name for name in ("prlimit", "setpriv") if name not in paths]
    if missing:
        raise NoSandbox(f"running code written by models needs {' and '.join(missing)}: apt-get install util-linux")
    return paths


def _system_mounts() -> list[str]:
    """Return the arguments that show the system's libraries and nothing else of it."""
    # These folders are made here: those that bubblewrap makes on the way to a file cannot be read by user nobody.
    mounts = [arg for path in ("/usr", "/etc", "/python", "/tools") for arg in ("--perms", "0755", "--dir", path)]
    # Not all of /usr: in containers /usr/src/app often holds a project.
    for path in ("/usr/lib", "/usr/lib64", "/usr/lib32"):
        mounts += ["--ro-bind-try", path, path]
    for path in ("/lib", "/lib64", "/lib32"):
        target = os.readlink(path) if Path(path).is_symlink() else ""
        mounts += ["--symlink", target, path] if target else ["--ro-bind-try", path, path]
    return [*mounts, "--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]


def _drop_root(bwrap: str, mounts: list[str]) -> list[str]:
    """Return the arguments of a first layer in which user nobody can isolate the program as any other user would.

    Root is exempt from the limit on processes, in a user namespace too, and nobody may not read below /root: so this
    layer shows the files to nobody.
    """
    layer = [bwrap, "--die-with-parent", "--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    layer += [*mounts, "--dev-bind", "/proc", "/proc", "--dev-bind", "/dev", "/dev"]
    layer += ["--dir", "/tmp", "--", "/tools/setpriv", "--reuid", str(NOBODY_ID), "--regid", str(NOBODY_ID)]  # noqa: S108
    return [*layer, "--clear-groups", "--pdeathsig", "keep"]


def _run_isolated(program: str, isolation: tuple[str, ...], limits: _ResourceLimits) -> ProgramResult:
    prlimit = ["/tools/prlimit", f"--as={limits.memory}", f"--nproc={limits.processes}"]
    prlimit += [f"--cpu={math.ceil(limits.seconds) + 1}", f"--fsize={FILE_BYTES}", f"--nofile={OPEN_FILES}", "--core=0"]
    # -S: the standard library alone, so that a verdict does not depend on what else is installed here.
    python = [f"/python/bin/{Path(os.path.realpath(sys.executable)).name}", "-sSPB", "-"]
    status_in, status_out = os.pipe()
    with _open_unnamed(program.encode("utf-8", "replace")) as text, os.fdopen(status_in, "rb") as status_lines:
        try:
            rules = _open_unnamed(build_filter())
            pipes = ["--json-status-fd", str(status_out), "--seccomp", str(rules.fileno())]
            process = subprocess.Popen(  # noqa: S603
                [*isolation, *pipes, "--", *prlimit, "--", *python],
                stdin=text,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[status_out, rules.fileno()],
                start_new_session=True,
                env={},
                cwd="/",
            )
        finally:
            os.close(status_out)
        rules.close()
        with process:
            output, reason = _read_until_end(process, limits)
        status = {key: value for line in status_lines for key, value in json.loads(line).items()}
    if "child-pid" in status:
        _wait_for_exit(status["child-pid"])
    exit_code = status.get("exit-code")
    shown = output.decode("utf-8", "replace")
    if reason == "ended" and exit_code is None:  # bubblewrap itself failed: nothing was run, so nothing is judged
        raise NoSandbox(f"bubblewrap does not work here: {shown.strip()} (are user namespaces allowed?)")
    return ProgramResult(exit_code if reason == "ended" else None, shown, reason)


def _open_unnamed(data: bytes) -> IO[bytes]:
    """Return a file without a name that holds `data`, at its beginning."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  (the caller closes it)
    file.write(data)
    file.seek(0)
    return file


def _read_until_end(process: subprocess.Popen[bytes], limits: _ResourceLimits) -> tuple[bytes, EndReason]:
    """Return what the program writes until it ends or exceeds a limit, and which; then kill what is left of it."""
    assert process.stdout is not None  # noqa: S101  (for the type checker)
    deadline = time.monotonic() + limits.seconds
    output = bytearray()
    pipe = process.stdout.fileno()
    os.set_blocking(pipe, False)
    end = os.pidfd_open(process.pid)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            selector.register(end, selectors.EVENT_READ)
            while True:
                remaining = deadline - time.monotonic()
                ready = {key.fd for key, _ in selector.select(max(0.0, min(remaining, POLL_SECONDS)))}
                if pipe in ready:
                    piece = _read_available(pipe, limits.output + 1 - len(output))
                    output += piece
                    if not piece:
                        selector.unregister(pipe)
                if len(output) > limits.output:
                    return bytes(output[: limits.output]), "output"
                if end in ready:
                    while piece := _read_available(pipe, limits.output - len(output)):
                        output += piece
                    return bytes(output), "ended"
                if remaining <= 0:
                    return bytes(output), "time"
                if sum(_resident_bytes(pid) for pid in _list_descendants(process.pid)) > limits.memory:
                    return bytes(output), "memory"
    finally:
        os.close(end)
        # One group: bubblewrap, and setpriv with the second bubblewrap. The processes they started die with them.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _read_available(pipe: int, size: int) -> bytes:
    try:
        return os.read(pipe, size)
    except BlockingIOError:
        return b""


def _wait_for_exit(pid: int) -> None:
    """Wait until the sandbox's first process has ended; the kernel ends it after all others in the sandbox."""
    with contextlib.suppress(ProcessLookupError):
        process = os.pidfd_open(pid)
        try:
            select.select([process], [], [], EXIT_WAIT_SECONDS)
        finally:
            os.close(process)


def _list_descendants(pid: int) -> list[int]:
    """Return all descendants of a process, as this machine numbers them."""
    descendants: list[int] = []
    queue = [pid]
    while queue:
        parent = queue.pop()
        with contextlib.suppress(OSError):
            children = [int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
            queue += children
            descendants += children
    return descendants


def _resident_bytes(pid: int) -> int:
    """Return the bytes in memory, shared ones counted for each process that shares them; 0 for an ended process."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
