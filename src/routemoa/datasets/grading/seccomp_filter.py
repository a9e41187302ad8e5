"""The system calls that a sandboxed program may not make: those whose memory no limit counts, and debugging ones.

A limit on the address space counts what is mapped, and a limit on file sizes each file alone. Memory behind
memfd_create, System V segments, message queues and io_uring escapes both. They are refused with EPERM, as by a kernel
that forbids them; the standard library works without them.
"""

from __future__ import annotations

import platform
import struct

from routemoa.core.errors import NoSandbox

__all__ = ["FORBIDDEN_CALLS", "build_filter"]

FORBIDDEN_CALLS: dict[str, dict[str, int]] = {
    "x86_64": {
        "shmget": 29,
        "shmat": 30,
        "semget": 64,
        "msgget": 68,
        "ptrace": 101,
        "mq_open": 240,
        "add_key": 248,
        "request_key": 249,
        "keyctl": 250,
        "perf_event_open": 298,
        "process_vm_readv": 310,
        "process_vm_writev": 311,
        "memfd_create": 319,
        "bpf": 321,
        "userfaultfd": 323,
        "io_uring_setup": 425,
        "memfd_secret": 447,
    },
    "aarch64": {
        "ptrace": 117,
        "mq_open": 180,
        "msgget": 186,
        "semget": 190,
        "shmget": 194,
        "shmat": 196,
        "add_key": 217,
        "request_key": 218,
        "keyctl": 219,
        "perf_event_open": 241,
        "process_vm_readv": 270,
        "process_vm_writev": 271,
        "memfd_create": 279,
        "bpf": 280,
        "userfaultfd": 282,
        "io_uring_setup": 425,
        "memfd_secret": 447,
    },
}
"""Numbers by architecture, from the kernel's syscall tables."""

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""AUDIT_ARCH_* of linux/audit.h."""
X32_BIT = 0x40000000  # of a second set of numbers for the same calls on x86_64
LOAD_WORD, JUMP_EQUAL, JUMP_AT_LEAST, RETURN = (
    0x20,
    0x15,
    0x35,
    0x06,
)  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, ...|JGE|K, BPF_RET|K
NUMBER_OFFSET, ARCHITECTURE_OFFSET = 0, 4  # in struct seccomp_data
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050001, 0x80000000  # SECCOMP_RET_ALLOW, ..._ERRNO with EPERM, ..._KILL_PROCESS


def build_filter(machine: str | None = None) -> bytes:
    """Return the filter as a classic BPF program, as `bwrap --seccomp` reads it.

    Args:
        machine: the architecture, as `platform.machine()` names it; by default this one.

    Raises:
        NoSandbox: the system calls of this architecture are not known here.
    """
    machine = machine or platform.machine()
    if machine not in ARCHITECTURES:
        raise NoSandbox(f"running code written by models is limited to {' and '.join(ARCHITECTURES)}, not {machine}")
    forbidden = sorted(FORBIDDEN_CALLS[machine].values())
    last = len(forbidden) + 1  # the distance from the first check of a number to the refusal
    program = [
        (LOAD_WORD, 0, 0, ARCHITECTURE_OFFSET),
        (JUMP_EQUAL, 1, 0, ARCHITECTURES[machine]),
        (RETURN, 0, 0, KILL),
        (LOAD_WORD, 0, 0, NUMBER_OFFSET),
        (JUMP_AT_LEAST, last, 0, X32_BIT),
        *((JUMP_EQUAL, last - 1 - i, 0, number) for i, number in enumerate(forbidden)),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, REFUSE),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
