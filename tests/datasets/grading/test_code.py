"""Answers with code, honest and cheating, against tests in the real sandbox."""

from __future__ import annotations

import gzip
import json
import random
from typing import Any

import pytest

from routemoa.core.errors import NoSandbox
from routemoa.datasets.grading.code import grade_code, run_tests
from routemoa.datasets.grading.sandbox import run_program
from routemoa.judging.answers.code_blocks import extract_candidates
from tests import SHARED

try:
    run_program("pass")
except NoSandbox as error:
    pytest.skip(f"no sandbox on this machine: {error}", allow_module_level=True)

TASKS = SHARED / "data" / "tasks"

GOOD = "def double(x):\n    return 2 * x\n"
TESTS = "assert double(2) == 4\nassert double(-1) == -2\n"
WRONG = "def double(x):\n    return x\n"
MAIN = 'if __name__ == "__main__":\n    print(double(int(input())))\n'
ASKS = "n = int(input('n? '))\nprint(f'twice {n} is {double(n)}')\n"
TIMES = "def double(x):\n    return operator.mul(2, x)\n"
SESSION = ">>> double(2)\n4\n"
PROMPT = """from typing import List

def total(numbers: List[int]) -> int:
    \"\"\"The sum.
    >>> total([1])
    1
    \"\"\"
"""
BODY = f"{PROMPT}# --- answer ---\nassert total([1, 2, 3]) == 6\nassert total([]) == 0\n"


def fenced(code: str, tag: str = "python") -> str:
    return f"```{tag}\n{code.rstrip()}\n```\n"


@pytest.mark.parametrize(
    "answer",
    [
        GOOD,
        fenced(GOOD),
        fenced(GOOD, "py"),
        fenced(GOOD, ""),
        fenced(GOOD, "Python3"),
        f"Sure! Here it is:\n\n{fenced(GOOD)}\nIt returns `2 * x`. Let me know!",
        f"Sure! Here it is:\n\n{GOOD}\nIt doubles what it's given.",
        f"```python\n{GOOD}",  # cut off before the fence
        f"```python\n{GOOD}\nThis doubles.",
        f"```python\n{GOOD.rstrip()}```",
        f"~~~python\n{GOOD}~~~",
        f"<think>Perhaps\n{fenced('def double(x): return x')}No.</think>\n{fenced(GOOD)}",
        f"First try:\n{fenced(WRONG)}\nThat is wrong. Corrected:\n{fenced(GOOD)}",
        f"{fenced('import operator')}and\n{fenced(TIMES)}",
        f"{fenced(GOOD)}Usage:\n{fenced(SESSION)}which prints\n```\nResult: 4!\n```",
        f"{fenced('double(not_defined_yet)')}with\n{fenced(GOOD)}",  # its example fails by itself
        f"{fenced(GOOD)}Run it:\n```bash\npython double.py\n```",
        fenced(GOOD + MAIN),
        fenced(GOOD + ASKS),
        "1. Write:\n   ```python\n   def double(x):\n       return 2 * x\n   ```\n2. Done.",
        f"{fenced(GOOD)}So:\n{fenced('double = double(2)')}",
        json.dumps({"answer": GOOD}),
        json.dumps({"reasoning": "easy", "code": fenced(GOOD)}),
        f"```json\n{json.dumps({'solution': GOOD})}\n```",
        f"[PYTHON]\n{GOOD}[/PYTHON]\n[TESTS]\nassert double(2) == 5\n[/TESTS]",
        fenced("double = lambda x: 2 * x\n"),
        fenced("class Doubler:\n    def __call__(self, x): return 2 * x\ndouble = Doubler()\n"),
        fenced(GOOD + "print('x' * 10_000_000)\n"),
        fenced("from __future__ import annotations\nfrom dataclasses import dataclass\n" + GOOD),
        fenced("def double(x):\n    s = '*' * 2  # **bold** $x$ `code` 1{,}000 \\(a\\)\n    return len(s) * x\n"),
        fenced("import os\nopen('scratch', 'w').write('2')\ndef double(x): return int(open('scratch').read()) * x\n"),
    ],
)
def test_right_answers_pass(answer: str) -> None:
    found = run_tests(answer, TESTS)
    assert found.passed, found.reason
    assert grade_code(answer, f"# imports\nimport math\n# --- answer ---\n{TESTS}") == 1.0


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "I cannot help with that.",
        "The answer is 4.",
        "```python\n```",
        fenced("def double(x):\n    return x + 2\n"),
        fenced("def double(x)\n    return 2 * x\n"),
        fenced("def triple(x):\n    return 2 * x\n"),
        "```python\ndef double(x):\n    if x > 0:\n        return 2 *",
        f"First:\n{fenced(GOOD)}\nSorry, corrected:\n{fenced(WRONG)}",
        fenced(GOOD + "double = double(2)"),
        f"<think>{fenced(GOOD)}</think>I do not know.",
        "(" * 100_000,
        "\0\ud800",
        "-" * 50_000 + "1",
        fenced("def double(x):\n    return double(x)\n"),
    ],
)
def test_wrong_answers_fail(answer: str) -> None:
    assert grade_code(answer, TESTS) == 0.0


@pytest.mark.parametrize(
    "answer",
    [
        "    return sum(numbers)\n",
        "return sum(numbers)",
        "result = 0\n    for n in numbers:\n        result += n\n    return result",
        "    def add(a, b):\n        return a + b\n"
        "    result = 0\n    for n in numbers:\n        result = add(result, n)\n    return result\n",
        fenced("    return sum(numbers)\n"),
        f"The body:\n{fenced('return sum(numbers)')}",
        "    return sum(numbers)\n\nThis adds them all up, doesn't it?",
        fenced(PROMPT + "    return sum(numbers)\n"),
        fenced("def total(numbers: List[int]) -> int:\n    return sum(numbers)\n"),  # the prompt's import is there
        fenced("from __future__ import annotations\ndef total(numbers: list[int]) -> int:\n    return sum(numbers)\n"),
    ],
)
def test_a_body_continues_the_preamble(answer: str) -> None:
    found = run_tests(answer, BODY)
    assert found.passed, found.reason


@pytest.mark.parametrize(
    "answer", ["    return 1\n", "    pass\n", "", "I do not know.", fenced("def other(): pass\n")]
)
def test_the_preamble_alone_is_no_answer(answer: str) -> None:
    assert grade_code(answer, BODY) == 0.0


def test_a_name_the_question_did_not_give() -> None:
    helper = "def twice(x):\n    return times(x, 2)\ndef times(a, b):\n    return a * b\ndef test_twice():\n    pass\n"
    assert grade_code(fenced(helper), f"# --- answer: double ---\n{TESTS}") == 1.0
    assert grade_code(fenced(helper), f"# --- answer ---\n{TESTS}") == 0.0
    taken = f"{fenced(WRONG.replace('double', 'same'))}{fenced(helper)}{fenced('double = twice(2)')}"
    assert grade_code(taken, f"# --- answer: double ---\n{TESTS}") == 1.0
    assert grade_code(fenced(GOOD + "def half(x): return x / 2\n"), f"# --- answer: double ---\n{TESTS}") == 1.0


@pytest.mark.parametrize(
    "code",
    [
        "import sys\nsys.exit(0)\n",
        "import os\nos._exit(0)\n",
        "exit(0)\n",
        "raise SystemExit\n",
        "import sys\ndef double(x):\n    sys.exit(0)\n",
        "import os\ndef double(x):\n    os._exit(0)\n",
        "def double(x):\n    raise SystemExit(0)\n",
        "def double(x):\n    raise KeyboardInterrupt\n",
        "import os\nos._exit = lambda code: None\ndef double(x):\n    raise ValueError\n",
        "import os, sys\nos._exit = sys.exit = print\nimport traceback\ntraceback.print_exc = print\n"
        "def double(x): return 0\n",
        "print('passed', 'all tests passed', 'OK', 1.0)\ndef double(x): return 0\n",
        "import os\nos.write(1, b'passed\\n')\nos.write(2, b'passed\\n')\ndef double(x): return 0\n",
        "import builtins\nbuiltins.AssertionError = None\ndef double(x): return 0\n",
        "import builtins\nclass A(BaseException): pass\nbuiltins.AssertionError = builtins.BaseException = A\n"
        "def double(x): return 0\n",
        "import builtins\nbuiltins.exec = builtins.compile = lambda *a, **k: None\ndef double(x): return 0\n",
        "import builtins\nbuiltins.__import__ = None\ndef double(x): return 0\n",
        "import sys\nsys.excepthook = lambda *a: None\ndef double(x): return 0\n",
        "import sys\nsys.settrace(lambda *a: None)\ndef double(x): return 0\n",
        "import atexit, os\natexit.register(lambda: print('passed'))\ndef double(x): return 0\n",
        "import __main__\n__main__.supervise = __main__._assemble_sources = __main__._send = print\n"
        "def double(x): return 0\n",
        "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\ndef double(x): return 0\n",
        "import os\nif os.fork(): os._exit(0)\ndef double(x): return 0\n",
        "import os\nfor fd in range(64):\n    try: os.write(fd, b'\\n' * 9)\n    except OSError: pass\n"
        "def double(x): return 0\n",
        "import os\nos.closerange(0, 64)\ndef double(x): return 0\n",
        "import threading, os\nthreading.Timer(0.01, lambda: os._exit(0)).start()\n"
        "def double(x):\n    import time; time.sleep(1)\n",
        "while True: pass\n",
        "def double(x):\n    while True: pass\n",
        "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass\n",
        "x = []\nwhile True: x.append(bytearray(10**7))\n",
        "import sys\nwhile True: print('x' * 10000, file=sys.stderr)\n",
    ],
)
def test_the_tests_cannot_be_evaded(code: str) -> None:
    assert not run_tests(fenced(code), "assert double(2) == 4\n", seconds=2).passed


def test_hostile_but_right_is_right() -> None:
    """What an answer does to its own process is its own affair: the tests decide."""
    code = "import builtins\nbuiltins.len = builtins.sum = None\nimport os\nos.environ.clear()\n" + GOOD
    assert grade_code(fenced(code), TESTS + "assert len([1]) == sum([1]) == 1\n") == 1.0


def test_tests_that_end_early_have_not_passed() -> None:
    assert grade_code(fenced(GOOD), "import sys\nassert double(2) == 4\nsys.exit(0)\n") == 0.0
    assert grade_code(fenced(GOOD), "this is no Python") == 0.0


def test_an_answer_cannot_read_the_tests_before_it_has_run() -> None:
    code = "import os, sys, select\nseen = b''\nprint(sys.stdin.read())\nfor fd in range(3, 64):\n"
    code += (
        "    try:\n        if select.select([fd], [], [], 0)[0]: seen += os.read(fd, 9999)\n    except OSError: pass\n"
    )
    code += "assert not seen and not sys.stdin.read()\n"
    assert grade_code(fenced(code + GOOD), TESTS) == 1.0


def test_the_result_has_a_reason() -> None:
    assert run_tests(fenced("def double(x): return 1 / 0\n"), TESTS).reason == "ZeroDivisionError: division by zero"
    assert run_tests(fenced("def double(x):\n    while True: pass\n"), TESTS, seconds=1).reason == "stopped: time"
    assert "no Python" in run_tests("I cannot.", TESTS).reason or "SyntaxError" in run_tests("I cannot.", TESTS).reason


def test_the_first_candidate_is_all_blocks_together() -> None:
    first = extract_candidates(f"{fenced('import math')}then\n{fenced(GOOD)}")[0]
    assert first == {"pieces": ["import math\n", GOOD], "cut": False, "strict": True}


def rows(name: str) -> list[dict[str, Any]]:
    if not (TASKS / name).exists():
        pytest.skip(f"{name} is not here")
    with gzip.open(TASKS / name, "rt") as lines:
        return random.Random(0).sample([json.loads(line) for line in lines], 25)


def broken(code: str) -> str:
    """The same function, with what it returns wrapped."""
    return code.replace("return ", "return 'wrong', ")


def test_solutions_of_mbpp() -> None:
    for row in rows("mbpp_sanitized.jsonl.gz"):
        reference = "\n".join([*row["test_imports"], "# --- answer ---", *row["test_list"]])
        found = run_tests(f"Here you are:\n{fenced(row['code'])}", reference)
        assert found.passed, (row["task_id"], found.reason)
        assert grade_code(fenced(broken(row["code"])), reference) == 0.0, row["task_id"]


def test_solutions_of_humaneval() -> None:
    for row in rows("HumanEval.jsonl.gz"):
        reference = f"{row['prompt']}\n# --- answer ---\n{row['test']}\ncheck({row['entry_point']})\n"
        found = run_tests(row["canonical_solution"], reference)
        assert found.passed, (row["task_id"], found.reason)
        assert grade_code(broken(row["canonical_solution"]), reference) == 0.0, row["task_id"]
