"""Memory that no resource limit counts cannot be had in the sandbox."""

from __future__ import annotations

import platform

import pytest

from routemoa.core.errors import NoSandbox
from routemoa.datasets.grading.sandbox import ProgramResult, run_program
from routemoa.datasets.grading.seccomp_filter import ARCHITECTURES, FORBIDDEN_CALLS, build_filter

MACHINE = platform.machine()


def run(program: str) -> ProgramResult:
    try:
        return run_program(program)
    except NoSandbox as e:
        pytest.skip(str(e))


@pytest.mark.skipif(MACHINE not in ARCHITECTURES, reason="numbers of this architecture are not known")
@pytest.mark.parametrize("name", FORBIDDEN_CALLS.get(MACHINE, {}))
def test_each_forbidden_call_is_refused(name: str) -> None:
    number = FORBIDDEN_CALLS[MACHINE][name]
    program = (
        f"import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\nprint(libc.syscall({number}, 0, 0, 0, 0, 0))\n"
    )
    result = run(program + "print(os.strerror(ctypes.get_errno()))")
    assert result.output.split("\n")[:2] == ["-1", "Operation not permitted"]


@pytest.mark.skipif(MACHINE != "x86_64", reason="x32 belongs to x86_64")
def test_the_same_calls_under_x32_numbers_are_refused() -> None:
    result = run("import ctypes\nlibc = ctypes.CDLL(None)\nprint(libc.syscall(0x40000000 + 319, b'a', 0))")
    assert result.output.strip() == "-1"


@pytest.mark.parametrize(
    "program",
    [
        "import os\nfor i in range(60):\n    f = os.memfd_create(str(i))\n    os.write(f, bytes(4_000_000))",
        "from multiprocessing import shared_memory\nshared_memory.SharedMemory(create=True, size=1 << 30)",
        "x = bytearray(1 << 30)",
        "import os\nwhile os.fork() or True:\n    x = bytearray(200_000_000)",
    ],
    ids=["memfd", "shared memory", "address space", "many processes"],
)
def test_no_way_to_take_more_memory(program: str) -> None:
    result = run_program(program, seconds=5.0, memory=256 << 20) if run("").exit_code == 0 else run("")
    assert result.exit_code != 0


def test_ordinary_programs_use_what_they_need() -> None:
    program = """
import subprocess, sys, threading, tempfile, asyncio, json, re, random, concurrent.futures as cf
with cf.ThreadPoolExecutor(4) as pool: assert list(pool.map(abs, [-1, 2])) == [1, 2]
asyncio.run(asyncio.sleep(0.01))
with tempfile.TemporaryFile(dir="/work") as f: f.write(b"x" * 1000)
print("fine")
"""
    assert run(program).output == "fine\n"


def test_an_unknown_architecture_runs_nothing() -> None:
    with pytest.raises(NoSandbox, match="not riscv64"):
        build_filter("riscv64")
