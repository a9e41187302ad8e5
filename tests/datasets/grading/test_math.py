"""Mathematical equivalence: equal and different expressions, and answers that would hang or exhaust the machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from routemoa.core.errors import MissingExtra
from routemoa.datasets import grading
from routemoa.datasets.grading import math as mathematics
from routemoa.datasets.grading.math import extract_expressions, grade_math
from routemoa.datasets.grading.worker_pool import WorkerPool

pytest.importorskip("math_verify", reason="the extra [eval] is not installed")

SAME = [
    ("\\boxed{\\frac{1}{2}}", "0.5"),
    ("The answer is $\\frac{\\sqrt{2}}{2}$.", "\\frac{1}{\\sqrt{2}}"),
    ("sqrt(2)/2", "\\frac{1}{\\sqrt{2}}"),
    ("√2/2", "\\frac{\\sqrt{2}}{2}"),
    ("(x+1)^2", "x^2 + 2x + 1"),
    ("x² + 2x + 1", "(x+1)^2"),
    ("2*pi", "2\\pi"),
    ("\\boxed{\\left( 3, \\dfrac{\\pi}{2} \\right)}", "\\left( 3, \\frac{\\pi}{2} \\right)"),
    ("[0, ∞)", "[0,\\infty)"),
    ("$(-\\infty, 2) \\cup (3, \\infty)$", "(-\\infty,2)\\cup(3,\\infty)"),
    ("The solutions are $x = 1$ and $x = 2$. The answer is $x = 1$ or $x = 2$.", "1, 2"),
    ("So \\boxed{1}, \\boxed{2}.", "2,1"),
    ("x = ±2", "-2, 2"),
    ("y = 2x + 3", "2x+3"),
    ("x \\in [1,2]", "[1,2]"),
    ("-4i + 3", "3-4i"),
    ("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "\\begin{pmatrix}1\\\\2\\end{pmatrix}"),
    ('{"reasoning": "r", "answer": "\\\\frac{3}{4}"}', "\\frac34"),
    ('{"reasoning": "r", "answer": "100100_b"}', "100100"),
    ('{"answer": "10 * 2^9"}', "5120"),
    ("54,000 square meters", "54000"),
    ("\\boxed{11,\\!496,\\!498,\\!652,\\!925,\\!415}", "11496498652925415"),
    ("120^\\circ", "120"),
    ("\\boxed{5\\text{ cm}}", "5"),
    ("$\\boxed{\\text{(B)}}$", "\\text{(B)}"),
    ("\\text{Evelyn}", "Evelyn"),
    ("It follows that\n\n$x^2 = 4$, hence $x = 2$", "2"),
    ("There are 3 cases.\n\nIn all that makes 27 ways", "27"),
    ("I think 5. <think>7</think> The answer is \\(\\frac{7}{2}\\).", "3.5"),
    ("\\boxed{144}", "The area is $6$. Then the square is $\\boxed{144}.$"),
]
DIFFERENT = [
    ("\\boxed{\\frac{1}{3}}", "0.333"),
    ("[0, 1)", "(0, 1)"),
    ("x^2 + 2x", "(x+1)^2"),
    ("12 or 13", "12"),
    ("[-4, -5]", "-4"),
    ("12\\sqrt{3}", "12"),
    ("1, -1", "1"),
    ("x^5 + 7x^4 - 2 = 0", "0"),
    ("12345678901", "12345678902"),
    ("45/2", "45"),
    ("-5", "5"),
    ("31.\\overline{6}", "31"),
    ("\\boxed{12}. The other root is \\boxed{x}", "12"),
    ('{"answer": "infinity"}', "31"),
    ("", "5"),
    ("I cannot tell.", "5"),
    ("The answer is " + "2 + 3 * 11 = " * 60, "11"),
]


@pytest.mark.parametrize(("answer", "reference"), SAME)
def test_the_same(answer: str, reference: str) -> None:
    assert grading.grade(answer, reference, "math") == 1.0


@pytest.mark.parametrize(("answer", "reference"), DIFFERENT)
def test_different(answer: str, reference: str) -> None:
    assert grading.grade(answer, reference, "math") == 0.0


def test_without_a_reference_there_is_no_grade() -> None:
    assert grading.grade("18", " ", "math") is None


def test_of_a_sentence_its_mathematics_comes_first() -> None:
    assert extract_expressions("The answer is $\\frac{3}{4}$ of the pie.") == [
        "\\frac{3}{4}",
        "\\frac{3}{4} of the pie",
    ]


@pytest.mark.alone
@pytest.mark.parametrize("hostile", ["9^{9^{9^{9}}}", "1000000000!"])
def test_a_hostile_answer_fails_in_time_and_the_next_is_graded(hostile: str) -> None:
    started = time.perf_counter()
    assert grade_math(f"\\boxed{{{hostile}}}", "\\frac{17}{3}") == 0.0
    assert grade_math("\\boxed{5 + \\frac{2}{3}}", "\\frac{17}{3}") == 1.0
    assert time.perf_counter() - started < 60


@pytest.mark.parametrize("hostile", ["(" * 60 + "1" + ")" * 60, "\\sqrt{" * 50 + "x" + "}" * 50, "x+" * 5000])
def test_deep_or_long_answers_are_not_looked_at(hostile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mathematics, "_worker_pool", lambda: pytest.fail("asked"))
    assert grade_math(f"\\boxed{{{hostile}}}", "\\frac{17}{3}") == 0.0


def test_plain_numbers_and_equal_forms_need_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mathematics, "_worker_pool", lambda: pytest.fail("asked"))
    assert grade_math("The answer is 1,234,567.", "1234567") == 1.0
    assert grade_math("The answer is 42.", "43") == 0.0
    assert grade_math("$\\left(1, \\frac{7}{9}\\right)$", "(1,\\frac79)") == 1.0


def test_a_missing_extra_names_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    mathematics._require_math_verify.cache_clear()
    monkeypatch.setattr(mathematics, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"run  .*\[eval\]"):
        grading.grade("1", "1", "math")
    mathematics._require_math_verify.cache_clear()


def test_threads_share_the_workers() -> None:
    pairs = [(f"\\frac{{{n}}}{{7}} + x", f"x + \\frac{{{n + n % 2}}}{{7}}") for n in range(40)]
    with ThreadPoolExecutor(8) as threads:
        got = list(threads.map(lambda p: grade_math(*p), pairs))
    assert got == [float(n % 2 == 0) for n in range(40)]


def test_a_worker_that_is_killed_is_replaced() -> None:
    workers = WorkerPool("routemoa.datasets.grading.math_worker", workers=1)
    assert workers.ask(["1", "1"]) is True
    first = workers._idle[0]
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert workers.ask(["1", "1"]) in (True, None)
    assert workers.ask(["1", "2"]) is False
    assert workers._idle[0].pid != first.pid
    workers.close()


def test_a_worker_that_does_not_reply_is_killed() -> None:
    workers = WorkerPool("routemoa.datasets.grading.math_worker", max_wait=0.01)  # less than it takes to start
    assert workers.ask(["1", "1"]) is None
    workers.close()


def test_closing_ends_the_workers() -> None:
    workers = WorkerPool("routemoa.datasets.grading.math_worker")
    workers.ask(["1", "1"])
    (worker,) = workers._idle
    workers.close()
    assert worker.returncode is not None
    assert workers.ask(["1", "1"]) is True  # and it can go on
    workers.close()


def _in_child(workers: WorkerPool, back: multiprocessing.SimpleQueue[object]) -> None:
    inherited = len(workers._idle)
    back.put((inherited, workers.ask(["\\frac12", "0.5"])))
    workers.close()


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_leaves_the_parents_workers_alone() -> None:
    workers = WorkerPool("routemoa.datasets.grading.math_worker")
    assert workers.ask(["1", "1"]) is True
    worker = workers._idle[0]
    fork = multiprocessing.get_context("fork")
    back = fork.SimpleQueue()
    child = fork.Process(target=_in_child, args=(workers, back))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert back.get() == (0, True)
    assert worker.poll() is None
    assert workers.ask(["1", "2"]) is False
    assert workers._idle[0] is worker
    workers.close()


def test_the_workers_end_with_the_interpreter() -> None:
    code = (
        "from routemoa.datasets.grading import math as m\n"
        "assert m.grade_math('x + 1', '1 + x') == 1.0\n"
        "print(m._worker_pool()._idle[0].pid)"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_worker_has_limits_and_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    workers = WorkerPool("routemoa.datasets.grading.math_worker")
    workers.ask(["1", "1"])
    process = f"/proc/{workers._idle[0].pid}"
    with open(f"{process}/limits") as limits, open(f"{process}/environ") as environment:
        kept = {line[:26].strip(): line[26:].split()[0] for line in limits}
        assert "secret" not in environment.read()
    assert kept["Max address space"] == str(2 << 30)
    assert kept["Max file size"] == "0"
    assert kept["Max cpu time"].isdigit()
    workers.close()
