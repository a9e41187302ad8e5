"""Code as an answer: found in what the model wrote, and put to the tests in a sandbox.

A reference is a Python script that raises where a test fails and runs to its end where none does. At a line
`# --- answer ---` it takes the answer's code; what stands before is a preamble (imports, the signature that was
asked about), which is executed first and which an answer that is only a function's body goes on from. Without the
line the answer comes first. `# --- answer: name ---` also gives the tests the answer's function as `name` where it is
called something else, for questions that do not say how to call it.

The verdict comes from a process that never runs the answer; exits, prints and exceptions make no test pass, changed
builtins are put back before the tests, and the word for "passed" is told only after the answer's code has run. What
this does not hold against: tests and answer share an interpreter, so an answer written to break *this* harness can
look for that word when its function is called (frames, `gc`, open files), change modules that the tests use, shadow a
builtin the tests call (`abs = lambda x: 0`: which data sets ask for, a function named `sum`), or return objects equal
to everything. Models that answer a question do none of this; a score that is trained on would teach it.
"""

from __future__ import annotations

import json
import re
import secrets
from functools import cache
from pathlib import Path

import msgspec

from routemoa.datasets.grading.sandbox import run_program
from routemoa.judging.answers.extraction import THOUGHT_END

__all__ = ["CodeResult", "grade_code", "build_program", "run_tests"]

ANSWER_MARK = re.compile(r"(?m)^# --- answer(?:: *(?P<name>\w+))? ---[ \t]*$")
FENCE = re.compile(
    r"""(?ms)^(?P<indent>[ \t]*(?:[-*+>]\s+|\d+[.)]\s+)?)(?P<fence>```+|~~~+)[ \t]*(?P<tag>[^\s`{]*)[^\n`]*\n
    (?P<code>.*?)(?:(?:^[ \t>]*|(?<=[^\n]))(?P<close>(?P=fence))|\Z)""",
    re.VERBOSE,
)
PYTHON_TAGS = re.compile(r"(?s)\[PYTHON\]\n?(.*?)(?:\[/PYTHON\]|\Z)")  # Code Llama's own fence
CODE_START = re.compile(r"(?m)^[ \t]*(?:(?:async +)?def \w|class \w|import \w|from \w[\w.]* import\b|@\w)")
DEFINITION = re.compile(r"(?m)^\s*(?:(?:async +)?def|class) \w|\blambda\b")
PYTHON_FENCE_TAG = re.compile(r"(?i)(?:python|py)[\d.]*|ipython|pycon|")
JSON_FIELDS = ("code", "answer", "solution", "completion", "program")


class CodeResult(msgspec.Struct, frozen=True):
    """The verdict on an answer's code; `why` is the last line of the traceback, or what it was stopped for."""

    passed: bool
    reason: str


def grade_code(answer: str, reference: str) -> float:
    """1.0 when the code in `answer` ran through all tests of `reference`, else 0.0.

    Raises:
        NoSandbox: this machine cannot run code safely, so nothing was run.
    """
    return float(run_tests(answer, reference).passed)


def run_tests(answer: str, reference: str, *, seconds: float = 10.0) -> CodeResult:
    """`passes` with the reason; `seconds` is for loading the answer and all its tests together."""
    seal = secrets.token_hex(16)
    done = run_program(build_program(answer, reference, seal=seal), seconds=seconds)
    if seal in done.output:
        return CodeResult(True, "all tests passed")
    last = done.output.strip().rpartition("\n")[2]
    return CodeResult(
        False, f"stopped: {done.reason}" if done.reason != "ended" else last or "ended before the tests did"
    )


def build_program(answer: str, reference: str, *, seal: str = "passed") -> str:
    """The program that tries `answer` against `reference` and prints `seal` when all tests passed."""
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
    """Readings of an answer as code, the likeliest first; the first that loads is tested.

    All fenced blocks together come first: later ones correct earlier ones or need them. Blocks alone are for answers
    whose examples fail by themselves. Where nothing loads, what is neither import nor definition may fail: an example
    that asks for input, with nobody there.
    """
    text = _unwrap_json(THOUGHT_END.split(answer)[-1])
    blocks = [(m["tag"], m["code"], not m["close"]) for m in FENCE.finditer(text)]
    blocks = [block for block in blocks if PYTHON_FENCE_TAG.fullmatch(block[0])] or blocks
    blocks = blocks or [("", m[1], False) for m in PYTHON_TAGS.finditer(text)]
    if blocks:
        open_ended = blocks[-1][2]  # the last fence never closes: prose may follow, or the answer was cut off
        everything = [code for _, code, _ in blocks]
        defining = [code for code in everything if DEFINITION.search(code)]
        orders = [(pieces, cut) for cut in (False, open_ended) for pieces in (everything, defining[-1:], defining[:1])]
    else:
        begin = CODE_START.search(text)
        orders = [([text], False), ([text[begin.start() :]] if begin else [], True), ([text], True)]
    tried = [order for i, order in enumerate(orders) if order[0] and order not in orders[:i]]
    readings = [{"pieces": pieces, "cut": cut, "strict": True} for pieces, cut in tried]
    return [*readings, *({**reading, "strict": False} for reading in readings)]


def _unwrap_json(text: str) -> str:
    """The code of an answer that came as a JSON object, fenced or not; any other text as it is."""
    bare = re.sub(r"^```(?:json)?\s*\n|\n```$", "", text.strip())
    if bare.startswith("{"):
        try:
            found = json.loads(bare, strict=False)
        except ValueError:
            return text
        for name in JSON_FIELDS:
            if isinstance(found, dict) and isinstance(found.get(name), str):
                return str(found[name])
    return text


@cache
def _harness_source() -> str:
    return Path(__file__).with_name("sandbox_harness.py").read_text(encoding="utf-8")
