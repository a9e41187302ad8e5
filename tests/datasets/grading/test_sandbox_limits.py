"""The sandbox's limits: time, memory, processes, files and output; and nothing is left afterwards."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from routemoa.core.errors import NoSandbox
from routemoa.datasets.grading import sandbox
from routemoa.datasets.grading.sandbox import run_program

try:
    run_program("pass")
except NoSandbox as error:
    pytest.skip(f"no sandbox on this machine: {error}", allow_module_level=True)

MEBIBYTE = 1 << 20
NAME = f"routemoa-{os.getpid()}"[:15]
NAMED = f"import ctypes; ctypes.CDLL(None).prctl(15, {NAME.encode()!r})\n"
"""Names a program's process, and so all that it forks, to be found from outside."""


def living() -> int:
    """How many processes of this machine bear the name."""
    found = 0
    for comm in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            found += comm.read_text().strip() == NAME
    return found


def test_the_disk_is_not_filled() -> None:
    done = run_program(
        """
written = 0
for i in range(100):
    try:
        with open(f'big{i}', 'wb', buffering=0) as f:
            while True:
                written += f.write(b'x' * 1_000_000)
    except OSError:
        pass
print(written)
"""
    )
    assert 0 < int(done.output) <= sandbox.FOLDER_BYTES


@pytest.mark.alone
def test_a_busy_loop_is_stopped() -> None:
    begun = time.monotonic()
    done = run_program("while True: pass", seconds=1)
    assert (done.exit_code, done.reason) == (None, "time")
    assert time.monotonic() - begun < 4


def test_sleep_is_stopped_and_its_output_is_kept() -> None:
    done = run_program("import time\nprint('before', flush=True)\ntime.sleep(60)", seconds=1)
    assert (done.reason, done.output.strip()) == ("time", "before")


def test_a_program_that_ignores_signals_is_stopped() -> None:
    program = """
import signal, time
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
time.sleep(60)
"""
    assert run_program(NAMED + program, seconds=1).reason == "time"
    assert living() == 0


@pytest.mark.parametrize(
    "what", ["print('x' * 1000)", "print('x' * 1000, file=sys.stderr)", "os.write(1, b'\\0' * 9999)"]
)
def test_endless_output_is_cut(what: str) -> None:
    done = run_program(f"import sys, os\nwhile True: {what}", output=10_000)
    assert done.reason == "output"
    assert len(done.output) == 10_000


def test_output_up_to_the_limit_is_kept() -> None:
    done = run_program("print('x' * 9_999)", output=10_000)
    assert (done.reason, len(done.output)) == ("ended", 10_000)


def test_a_program_cannot_allocate_beyond_its_limit() -> None:
    done = run_program("x = []\nwhile True: x.append(bytearray(10_000_000))", memory=128 * MEBIBYTE)
    assert done.exit_code != 0
    assert "MemoryError" in done.output


def test_many_processes_share_the_memory() -> None:
    program = """
import os, time
for i in range(20):
    if os.fork() == 0:
        hog = bytearray(b'x' * 60_000_000)
        time.sleep(60)
time.sleep(60)
"""
    done = run_program(NAMED + program, memory=200 * MEBIBYTE)
    assert done.reason == "memory"
    assert living() == 0


def test_a_fork_bomb_stays_small_and_dies() -> None:
    peak = 0
    program = "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass"
    with subprocess.Popen(["sleep", "60"]) as bystander:  # forks still succeed here, and no other process is affected
        bomb = threading.Thread(target=run_program, args=(NAMED + program,), kwargs={"seconds": 2, "processes": 16})
        bomb.start()
        while bomb.is_alive():
            peak = max(peak, living())
            time.sleep(0.05)
        assert bystander.poll() is None
        bystander.kill()
    assert 4 < peak <= 16
    assert living() == 0


def test_threads_are_counted_too() -> None:
    program = """
import threading, time
n = 0
try:
    while True:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        n += 1
except RuntimeError:
    print(n)
"""
    assert int(run_program(program, processes=16, seconds=5).output) < 16


@pytest.mark.alone
def test_a_daemon_dies_with_its_program() -> None:
    program = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 64)
        time.sleep(60)
    os._exit(0)
time.sleep(0.2)
print('left')
"""
    begun = time.monotonic()
    done = run_program(NAMED + program)
    assert (done.exit_code, done.output.strip()) == (0, "left")
    assert time.monotonic() - begun < 5
    assert living() == 0
