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

import json
import re
import secrets
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from routemoa.datasets.grading.sandbox import run_program
from routemoa.judging.answers.extraction import THOUGHT_END

__all__ = ["CodeResult", "build_program", "grade_code", "run_tests"]

ANSWER_MARK = re.compile(r"(?m)^# --- answer(?:: *(?P<name>\w+))? ---[ \t]*$")
FENCE = re.compile(
    r"""(?ms)^(?P<indent>[ \t]*+(?:[-*+>]\s++|\d++[.)]\s++)?)(?P<fence>```++|~~~++)[ \t]*+(?P<tag>[^\s`{]*+)[^\n`]*+\n
    (?P<code>.*?)(?:(?:^[ \t>]*|(?<=[^\n]))(?P<close>(?P=fence))|\Z)""",
    re.VERBOSE,
)
PYTHON_TAGS = re.compile(r"(?s)\[PYTHON\]\n?(.*?)(?:\[/PYTHON\]|\Z)")  # Code Llama's own fence
CODE_START = re.compile(r"(?m)^[ \t]*(?:(?:async +)?def \w|class \w|import \w|from \w[\w.]* import\b|@\w)")
DEFINITION = re.compile(r"(?m)^[ \t]*+(?:(?:async +)?def|class) \w|\blambda\b")
PYTHON_FENCE_TAG = re.compile(r"(?i)(?:python|py)[\d.]*|ipython|pycon|")
JSON_FIELDS = ("code", "answer", "solution", "completion", "program")


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
    source = _harness_source()
    return f"{source}\n\nsupervise({source!r}, {job!r})\n"


def extract_candidates(answer: str) -> list[dict[str, object]]:
    """Return the ways to read an answer as code, the likeliest first; the first that loads is tested.

    A candidate has "pieces" (texts to execute in turn), "cut" (whether prose may follow the code) and "strict" (whether
    every statement must run). All fenced blocks together come first: later ones correct earlier ones or need them.
    Single blocks are for answers whose examples fail. Last, each again without "strict", where a statement that is
    neither an import nor a definition may fail, such as an example that reads input.
    """
    text = _unwrap_json(THOUGHT_END.split(answer)[-1])
    blocks = _find_blocks(text)
    if blocks:
        may_trail = not blocks[-1].is_closed  # prose may follow the last block, or the answer was cut off
        codes = [block.code for block in blocks]
        defining = [code for code in codes if DEFINITION.search(code)]
        orders = [(pieces, cut) for cut in (False, may_trail) for pieces in (codes, defining[-1:], defining[:1])]
    else:
        start = CODE_START.search(text)
        orders = [([text], False), ([text[start.start() :]] if start else [], True), ([text], True)]
    distinct = [order for i, order in enumerate(orders) if order[0] and order not in orders[:i]]
    candidates = [{"pieces": pieces, "cut": cut, "strict": True} for pieces, cut in distinct]
    return [*candidates, *({**candidate, "strict": False} for candidate in candidates)]


class _Block(NamedTuple):
    """A fenced block of an answer."""

    tag: str
    code: str
    is_closed: bool


def _find_blocks(text: str) -> list[_Block]:
    """Return the blocks of Python in a text; where none is tagged as Python, all blocks."""
    blocks = [_Block(m["tag"], m["code"], bool(m["close"])) for m in FENCE.finditer(text)]
    blocks = [block for block in blocks if PYTHON_FENCE_TAG.fullmatch(block.tag)] or blocks
    return blocks or [_Block("", m[1], True) for m in PYTHON_TAGS.finditer(text)]


def _unwrap_json(text: str) -> str:
    """Return the code of an answer that is a JSON object, fenced or not; any other text unchanged."""
    bare = re.sub(r"^```(?:json)?\s*\n|\n```$", "", text.strip())
    if bare.startswith("{"):
        try:
            plain = json.loads(bare, strict=False)
        except ValueError:
            return text
        for name in JSON_FIELDS:
            if isinstance(plain, dict) and isinstance(plain.get(name), str):
                return str(plain[name])
    return text


@cache
def _harness_source() -> str:
    return Path(__file__).with_name("sandbox_harness.py").read_text(encoding="utf-8")
