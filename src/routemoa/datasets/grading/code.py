"""Grade code: extract it from an answer and run it against tests in a sandbox.

A reference is a Python script that raises where a test fails and runs to its end where none does. The answer's code
goes in at a line `# --- answer ---`. What stands before it is a preamble (imports, the signature that was asked
about): it is executed first, and an answer that is only a function's body continues it. Without the line the answer
comes first. `# --- answer: name ---` also gives the tests the answer's function as `name` where it has another name,
for questions that do not say how to name it.

The verdict comes from a process that never runs the answer: exits, prints and exceptions make no test pass, changed
builtins are restored before the tests, and the word for "passed" is sent only after the answer's code has run.

Limits: tests and answer share an interpreter. An answer written to break *this* harness can look for that word when
its function is called (frames, `gc`, open files), change modules that the tests use, shadow a builtin that the tests
call (`abs = lambda x: 0`; some data sets ask for a function named `sum`), or return objects equal to everything.
Models that answer a question do none of this; training on these scores would teach it.
"""

from __future__ import annotations

import re
import secrets
from functools import cache
from pathlib import Path

import msgspec

from routemoa.datasets.grading.sandbox import run_program
from routemoa.judging.answers.code_blocks import extract_candidates

__all__ = ["CodeResult", "build_program", "grade_code", "harness_source", "run_tests"]

ANSWER_MARK = re.compile(r"(?m)^# --- answer(?:: *(?P<name>\w+))? ---[ \t]*$")


class CodeResult(msgspec.Struct, frozen=True):
    """Whether an answer's code passed the tests."""

    passed: bool
    reason: str
    """The last line of the traceback, or which limit stopped it."""


def grade_code(answer: str, reference: str) -> float:
    """Return 1.0 where the code in `answer` passes all tests of `reference`, else 0.0.

    Raises:
        NoSandbox: this machine cannot run code safely, so nothing was run.
    """
    return float(run_tests(answer, reference).passed)


def run_tests(answer: str, reference: str, *, seconds: float = 10.0) -> CodeResult:
    """Run the code in `answer` against the tests of `reference`, in at most `seconds` for both. Raises NoSandbox."""
    seal = secrets.token_hex(16)
    result = run_program(build_program(answer, reference, seal=seal), seconds=seconds)
    if seal in result.output:
        return CodeResult(True, "all tests passed")
    if result.reason != "ended":
        return CodeResult(False, f"stopped: {result.reason}")
    last_line = result.output.strip().rpartition("\n")[2]
    return CodeResult(False, last_line or "ended before the tests did")


def build_program(answer: str, reference: str, *, seal: str = "passed") -> str:
    """Return the program that tries `answer` against `reference` and prints `seal` where all tests passed."""
    mark = ANSWER_MARK.search(reference)
    job = {
        "candidates": extract_candidates(answer),
        "preamble": reference[: mark.start()] if mark else "",
        "tests": reference[mark.end() :] if mark else reference,
        "name": mark["name"] if mark else None,
        "seal": seal[::-1],
    }
    source = harness_source()
    return f"{source}\n\nsupervise({source!r}, {job!r})\n"


@cache
def harness_source() -> str:
    """Return the text of the program that goes into the sandbox."""
    return Path(__file__).with_name("sandbox_harness.py").read_text(encoding="utf-8")
