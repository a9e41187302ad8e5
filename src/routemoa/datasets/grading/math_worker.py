"""The process in which math-verify compares two expressions, since sympy may hang or need much memory.

`worker_pool` starts it as `python -m routemoa.datasets.grading.math_worker`. A question is [reference, answer], both
LaTeX; the reply is true or false.
"""

from __future__ import annotations

import json
import logging
import sys
from functools import lru_cache
from typing import Any

from routemoa.datasets.grading.worker_pool import limit_cpu_time, limit_resources

__all__: list[str] = []

CLEAR_EVERY = 2000  # questions between two clearings of sympy's caches, which grow without end
RECURSION_LIMIT = 3000


def is_equal(reference: str, answer: str) -> bool:
    """Return whether math-verify finds the two LaTeX expressions equal."""
    from math_verify import verify  # type: ignore[import-untyped]

    left, right = parse_latex(reference), parse_latex(answer)
    return bool(left and right and verify(list(left), list(right), timeout_seconds=None))


@lru_cache(maxsize=256)
def parse_latex(latex: str) -> tuple[Any, ...]:
    """Return what math-verify reads in an expression: sympy objects, and the text that it read them from."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse

    boxed = f"\\boxed{{{latex}}}"
    return tuple(parse(boxed, [LatexExtractionConfig(), ExprExtractionConfig()], parsing_timeout=None))


def serve() -> None:
    """Answer questions until standard input ends."""
    from sympy.core.cache import clear_cache  # type: ignore[import-untyped]

    logging.disable(logging.CRITICAL)
    limit_resources()
    sys.setrecursionlimit(RECURSION_LIMIT)
    for number, line in enumerate(sys.stdin.buffer, 1):
        limit_cpu_time()
        try:
            equal = is_equal(*json.loads(line))
        except (Exception, RecursionError):  # what sympy cannot read is not shown to be equal
            equal = False
        sys.stdout.write(json.dumps(equal) + "\n")
        sys.stdout.flush()
        if number % CLEAR_EVERY == 0:
            clear_cache()


if __name__ == "__main__":
    serve()
