"""The process in which math-verify compares two expressions.

`python -m routemoa.datasets.grading.math_worker`, started by `worker_pool`.

A question is [reference, answer], both LaTeX; the answer is true or false.
"""

from __future__ import annotations

import json
import logging
import sys
from functools import lru_cache
from typing import Any

from routemoa.datasets.grading import worker_pool as apart

__all__: list[str] = []

CLEAR_EVERY = 2000  # questions, after which sympy's caches are emptied: they grow without end


def is_equal(reference: str, answer: str) -> bool:
    """Whether math-verify takes the two LaTeX expressions for the same."""
    from math_verify import verify  # type: ignore[import-untyped]

    left, right = parse_latex(reference), parse_latex(answer)
    return bool(left and right and verify(list(left), list(right), timeout_seconds=None))


@lru_cache(maxsize=256)
def parse_latex(latex: str) -> tuple[Any, ...]:
    """What math-verify reads in an expression: sympy objects and the text it read them from."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse

    boxed = f"\\boxed{{{latex}}}"
    return tuple(parse(boxed, [LatexExtractionConfig(), ExprExtractionConfig()], parsing_timeout=None))


def serve() -> None:
    """Answer until there are no more questions."""
    from sympy.core.cache import clear_cache  # type: ignore[import-untyped]

    logging.disable(logging.CRITICAL)
    apart.limit_resources()
    sys.setrecursionlimit(3000)
    for number, line in enumerate(sys.stdin.buffer, 1):
        apart.limit_cpu_time()
        try:
            same = is_equal(*json.loads(line))
        except (Exception, RecursionError):  # whatever sympy cannot read is not shown equal
            same = False
        sys.stdout.write(json.dumps(same) + "\n")
        sys.stdout.flush()
        if number % CLEAR_EVERY == 0:
            clear_cache()


if __name__ == "__main__":
    serve()
