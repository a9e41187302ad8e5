"""Run a code answer's main function on inputs, in the sandbox, and return what it did."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from routemoa.datasets.grading.behaviour_harness import MAX_TIMEOUTS
from routemoa.datasets.grading.code import harness_source
from routemoa.datasets.grading.sandbox import MEBIBYTE, EndReason, run_program
from routemoa.judging.answers.code import canonical_output
from routemoa.judging.answers.code.behaviour import TIMEOUT, Behaviour, Output
from routemoa.judging.answers.code.code_calls import find_calls
from routemoa.judging.answers.code_blocks import extract_candidates, holds_code

__all__ = ["observe_behaviour"]

MAX_SECONDS = 4.0
MEMORY = 256 * MEBIBYTE
MAX_OUTPUT = 512 * 1024  # bytes of all outputs of an answer
NO_FUNCTION = "it defines no Python function"
DOES_NOT_LOAD = "its code does not load"


def observe_behaviour(
    answer: str, inputs: Sequence[str], names: Sequence[str] = (), preamble: str = "", seconds: float = MAX_SECONDS
) -> Behaviour:
    """Return what an answer's main function does with each input.

    Args:
        answer: the text of the answer; its code is run in the sandbox, never here.
        inputs: texts of tuples of literals.
        names: how the function may be called, the likeliest first; else it is the one that no other function uses.
        preamble: code that the answer continues, such as the signature that was asked about.
        seconds: for all of it.

    Raises:
        NoSandbox: this machine cannot run code safely, so nothing was run.
    """
    if not holds_code(answer):
        return Behaviour(failure=NO_FUNCTION)
    called = [call.name for call in find_calls(answer)][-1:]
    job = {
        "candidates": extract_candidates(answer),
        "preamble": preamble,
        "names": [*names, *called],
        "inputs": list(inputs),
    }
    result = run_program(f"{_harness()}\n\nobserve({job!r})\n", seconds=seconds, memory=MEMORY, output=MAX_OUTPUT)
    return _read_lines(result.output, inputs, result.reason)


def _read_lines(text: str, inputs: Sequence[str], reason: EndReason) -> Behaviour:
    """Read what the harness wrote; whatever else stands there is ignored, as the answer may have written it.

    The first input without a line is the one that ended the program.
    """
    known, seen, outputs = set(inputs), set[str](), dict[str, Output]()
    for line in text.splitlines():
        try:
            plain: Any = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(plain, dict):
            continue
        if not seen and isinstance(plain.get("failure"), str):
            return Behaviour(failure=DOES_NOT_LOAD)
        value, error, arguments = plain.get("value"), plain.get("error"), plain.get("input")
        if not isinstance(arguments, str) or arguments not in known:
            continue
        seen.add(arguments)
        if isinstance(value, str):
            outputs[arguments] = Output(value=value)
        elif isinstance(error, str):
            outputs[arguments] = Output(error=error)
    unseen = next((text for text in inputs if text not in seen), None)
    if unseen is not None and sum(o.error == TIMEOUT for o in outputs.values()) < MAX_TIMEOUTS:
        outputs[unseen] = Output(error=reason)
    return Behaviour(outputs)


@cache
def _harness() -> str:
    """Return the program's text. `from __future__` may stand only at the beginning of it."""
    here = Path(__file__)
    parts = [
        harness_source(),
        Path(canonical_output.__file__).read_text(encoding="utf-8"),
        here.with_name("behaviour_harness.py").read_text(encoding="utf-8"),
    ]
    future = "from __future__ import annotations\n"
    return future + "".join(part.replace(future, "") for part in parts)
