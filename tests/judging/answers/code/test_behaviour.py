"""Code answers grouped by what they do: pure laws on made-up outputs, and real forms of answers in the real sandbox."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routemoa.core.errors import NoSandbox
from routemoa.datasets.grading.behaviour import observe_behaviour
from routemoa.datasets.grading.sandbox import run_program
from routemoa.judging.answers.code.behaviour import Behaviour, Output, agree, collect_inputs, group_behaviours
from routemoa.judging.answers.code.canonical_output import encode_output
from routemoa.judging.answers.code.code_calls import Call, Example, find_calls, find_examples, find_imports
from routemoa.judging.answers.code_blocks import is_code_panel
from routemoa.judging.answers.grouping import Groups, all_agree, group_answers
from tests import SHARED

try:
    run_program("pass")
except NoSandbox as error:
    pytest.skip(f"no sandbox here: {error}", allow_module_level=True)


def fenced(code: str, tag: str = "python") -> str:
    return f"Here is the function:\n\n```{tag}\n{code}\n```\nIt does what was asked."


def run_all(question: str, answers: Sequence[str]) -> tuple[Groups, list[Behaviour]]:
    """Run the answers as the engine does."""
    examples = find_examples(question)
    inputs = collect_inputs(examples, answers)
    names = [example.call.name for example in examples]
    behaviours = [observe_behaviour(answer, inputs, names, find_imports(question)) for answer in answers]
    return group_behaviours(behaviours, examples), behaviours


SQUARES = fenced("def squares(xs):\n    return [x * x for x in xs]\n\nprint(squares([1, 2, 3]))  # [1, 4, 9]")
DIFFERENTLY = fenced(
    "def f(numbers):\n    out = []\n    for n in numbers:\n        out.append(n ** 2)\n    return out\n"
)
CUBES = fenced("def cubes(xs):\n    return [x ** 3 for x in xs]\n\nassert cubes([2, 3]) == [8, 27]")

PANELS: dict[str, tuple[str, list[str], tuple[int, ...], tuple[int, ...]]] = {
    "other names, written differently": ("", [SQUARES, DIFFERENTLY, CUBES], (0, 0, 1), ()),
    "keyword arguments and variables": (
        "",
        [
            fenced("def power(base, exponent):\n    return base ** exponent\nprint(power(exponent=3, base=2))"),
            fenced("def p(a, b):\n    return a * p(a, b - 1) if b else 1\nx, y = 5, 2\np(x, y)"),
            fenced("def p(a, b):\n    return b ** a"),
        ],
        (0, 0, 1),
        (),
    ),
    "another number of arguments is not compared": (
        "",
        [
            fenced("def total(xs):\n    return sum(xs)\nprint(total([1, 2, 3]), total([4]))"),
            fenced("def total(xs, n):\n    return sum(xs[:n])\nprint(total([1, 2, 3], 3), total([4], 1))"),
            fenced("def total(xs, start=0):\n    return start + sum(xs)"),
        ],
        (0, 1, 0),
        (),
    ),
    "no Python": (
        "",
        [SQUARES, DIFFERENTLY, "```js\nfunction f(a) { return a.map(x => x * x) }\n```"], (0, 0, 1), (2,)),
    "prose alone": ("", [SQUARES, DIFFERENTLY, "Multiply each number by itself."], (0, 0, 1), (2,)),
    "what is printed besides counts for nothing": (
        "",
        [SQUARES, fenced("def f(xs):\n    for x in xs:\n        print(x)\n    return [x * x for x in xs]")],
        (0, 0),
        (),
    ),
    "printing is compared where nothing is returned": (
        "",
        [
            fenced("def show(n):\n    for i in range(n):\n        print(i)\nshow(3)"),
            fenced("def numbers(n):\n    print('\\n'.join(str(i) for i in range(n)))\nnumbers(5)"),
            fenced("def numbers(n):\n    return list(range(n))"),
        ],
        (0, 0, 1),
        (),
    ),
    "answers that change their argument see it fresh each time": (
        "",
        [
            fenced("def order(xs):\n    xs.sort()\nvalues = [3, 1, 2]\norder(values)"),
            fenced("def order(xs):\n    xs[:] = sorted(xs)\norder([9, 8, 9])"),
            fenced("def order(xs):\n    while xs:\n        xs.pop()"),
            fenced("def order(xs):\n    xs.sort()\n    return xs"),
        ],
        (0, 0, 1, 2),
        (),
    ),
    "the order of a set is no difference": (
        "",
        [
            fenced("def letters(s):\n    return set(s)\nletters('hello world')"),
            fenced("def letters(s):\n    return {c for c in reversed(s)}\nletters('banana')"),
        ],
        (0, 0),
        (),
    ),
    "the order of strings taken from a set is the same in every process": (
        "",
        [fenced("def f(s):\n    return list(set(s.split()))\nf('a b c d e f')"),
         fenced("def g(s):\n    return list(set(s.split()))")],
        (0, 0),
        (),
    ),
    "floats within a tolerance, and integers beside them": (
        "",
        [
            fenced("import math\ndef area(r):\n    return math.pi * r ** 2\nprint(area(3))"),
            fenced("from math import pi\ndef circle(radius: float) -> float:\n    return radius * pi * radius"),
            fenced("def area(r):\n    return 3 * r * r"),
        ],
        (0, 0, 1),
        (),
    ),
    "recursion, with helpers": (
        "",
        [
            fenced("def fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)\nprint(fib(10))"),
            fenced("def step(a, b):\n    return b, a + b\n\n"
                   "def fibonacci(n):\n    a, b = 0, 1\n    for _ in range(n):\n"
                   "        a, b = step(a, b)\n    return a\n\nprint(fibonacci(7))"),
            fenced("def endless(n):\n    return endless(n)"),
        ],
        (0, 0, 1),
        (2,),
    ),
    "coroutines and generators": (
        "",
        [
            fenced("async def f(n):\n    return n + 1\nf(1)"),
            fenced("def g(n):\n    return n + 1"),
            fenced("def h(n):\n    yield n + 1"),
            fenced("def k(n):\n    while True:\n        yield n"),
        ],
        (0, 0, 1, 2),
        (),
    ),
    "code that ends the interpreter for one input": (
        "",
        [
            fenced("import os\ndef f(n):\n    return os.abort() if n > 5 else n\n# f(1), f(2), f(9)"),
            fenced("def g(n):\n    return n if n < 6 else None"),
        ],
        (0, 1),
        (),
    ),
    "a method of a class without arguments": (
        "",
        [SQUARES, fenced("class Solution:\n    def squares(self, xs):\n        return [x * x for x in xs]")],
        (0, 0),
        (),
    ),
    "code that does not load": ("", [SQUARES, DIFFERENTLY, fenced("def f(xs:\n    return xs")], (0, 0, 1), (2,)),
    "a module that is not there": (
        "",
        [SQUARES, DIFFERENTLY, fenced("import numpy as np\ndef f(xs):\n    return np.array(xs) ** 2")], (0, 0, 1), (2,),
    ),
    "answers that crash agree with none": (
        "",
        [fenced("def f(xs):\n    return xs.nothing\nf([1])"), fenced("def f(xs):\n    return xs.nothing"), SQUARES],
        (0, 1, 2),
        (0, 1),
    ),
    "exits are crashes": (
        "",
        [SQUARES, DIFFERENTLY, fenced("def f(xs):\n    raise SystemExit"),
         fenced("import os\ndef f(xs):\n    os._exit(0)")],
        (0, 0, 1, 2),
        (2, 3),
    ),
    "examples of the question: an assertion": (
        "Write a function squares.\nassert squares([4]) == [16]", [SQUARES, CUBES, DIFFERENTLY], (0, 1, 0), (1,),
    ),
    "a wrong example, which no answer meets, counts for nothing": (
        "squares([1, 2]) should return [1, 5]", [SQUARES, CUBES, DIFFERENTLY], (0, 1, 0), (),
    ),
    "imports that only the question shows": (
        "from typing import List\nimport no_such_module\n\ndef squares(xs: List[int]) -> List[int]:\n    ...",
        [fenced("def squares(xs: List[int]) -> List[int]:\n    return [x * x for x in xs]"), SQUARES],
        (0, 0),
        (),
    ),
    "examples of the question: a doctest": (
        'def tripled(n):\n    """Triple it.\n    >>> tripled(2)\n    6\n    """\n',
        [fenced("def tripled(n):\n    return 3 * n\ntripled(5)"),
         fenced("def tripled(n):\n    return n + 5\ntripled(5)")],
        (0, 1),
        (1,),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PANELS)
def test_answers_are_grouped_by_what_they_do(name: str) -> None:
    question, answers, groups, failed = PANELS[name]
    found, behaviours = run_all(question, answers)
    assert (found.group_of, found.closed) == (groups, True), behaviours
    assert tuple(i for i, f in enumerate(found.failed) if f) == failed, behaviours
    again, _ = run_all(question, answers[::-1])
    assert partition(again.group_of[::-1]) == partition(groups)
    assert again.failed[::-1] == found.failed


@pytest.mark.parametrize(
    "body",
    [
        "while True:\n        pass",
        "return 10 ** 10 ** 8 % 7",
        "return [0] * 10 ** 12",
        "data = []\n    while True:\n        data.append('x' * 10 ** 6)",
        "import os\n    while True:\n        os.fork()",
        "while True:\n        print('x' * 1000)",
        "try:\n        while True:\n            pass\n    except BaseException:\n        return f(xs)",
        "import os, sys\n    os.kill(os.getppid(), 9)",
    ],
)
def test_hostile_code_is_stopped_and_falls_behind(body: str) -> None:
    hostile = fenced(f"def f(xs):\n    {body}")
    found, behaviours = run_all("", [SQUARES, hostile, DIFFERENTLY])
    assert found.group_of == (0, 1, 0)
    assert {output.value for output in behaviours[1].outputs.values()} <= {None, "null"}


def test_an_answer_cannot_write_outputs_that_break_the_reader() -> None:
    forged = fenced(
        "import os, json\n"
        "def f(xs):\n"
        "    for fd in range(3, 30):\n"
        "        try:\n"
        '            os.write(fd, b\'[[[[\' * 5000 + b\'\\n{"input": 3, "value": {}}\\n\\xff\\n{"failure": 7}\\n\')\n'
        "        except OSError:\n"
        "            pass\n"
        "    return xs\n"
    )
    found, behaviours = run_all("", [SQUARES, forged])
    assert found.group_of == (0, 1)
    assert all(isinstance(output, Output) for output in behaviours[1].outputs.values())


def test_calls_are_found_in_code_tests_comments_and_prose() -> None:
    text = (
        "```python\ndef inter(a, b):\n    return list(set(a) & set(b))\n\n"
        "xs = [1, 2]\nys, n = [2, 3], 5  # two\nprint(inter(xs, ys))\nxs = input()\ninter(xs, ys)\n"
        "assert inter(b=[7], a=[8, 9]) == []\n# inter([\n#   1], [2]) -> []\n```\n"
        'For example `inter("ab", "b")` returns `["b"]`.\n>>> inter([(1, "x)")], [])\n[]'
    )
    assert [call.arguments for call in find_calls(text)] == [
        "([1, 2], [2, 3])",
        "([8, 9], [7])",
        "('ab', 'b')",
        "([(1, 'x)')], [])",
    ]


@pytest.mark.parametrize(
    ("question", "examples"),
    [
        ("assert f([1, 2], 3) == 4", [("f", "([1, 2], 3)", "4")]),
        ("assert set(f(1)) == {1}", [("f", "(1,)", None)]),
        ("f(1) -> 2", [("f", "(1,)", "2")]),
        ('For example, `rev("abc")` should return "cba".', [("rev", "('abc',)", "'cba'")]),
        ("def g(x):\n    '''\n    >>> g(1)\n    [1,\n     2]\n    '''", [("g", "(1,)", "[1, 2]")]),
        ("grade([4.0, 3]) ==> ['A+', 'B']", [("grade", "([4.0, 3],)", "['A+', 'B']")]),
        ("left('5 apples', 19) -> 19 - 5 = 14", [("left", "('5 apples', 19)", None)][:0]),
        ("half(3) => 1.5, half(4) returns 2.", [("half", "(3,)", "1.5"), ("half", "(4,)", "2")]),
        ("Write a function to sort a list (in place) and print(it).", []),
        ("assert f(open('x').read()) == 1", []),
    ],
)
def test_examples_of_a_question(question: str, examples: list[tuple[str, str, str | None]]) -> None:
    assert find_examples(question) == [Example(Call(n, a), e) for n, a, e in examples]


def read_tasks(name: str) -> list[dict[str, Any]]:
    with gzip.open(SHARED / "data" / "tasks" / name, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def test_reference_solutions_meet_the_examples_of_their_questions() -> None:
    tasks = [
        (row["task_id"], row["prompt"], f"```python\n{row['prompt']}{row['canonical_solution']}```")
        for row in random.Random(0).sample(read_tasks("HumanEval.jsonl.gz"), 40)
    ] + [
        (row["task_id"], "\n".join([row["prompt"], *row["test_list"]]), fenced(row["code"]))
        for row in random.Random(0).sample(read_tasks("mbpp_sanitized.jsonl.gz"), 30)
    ]
    wrong_examples = {"HumanEval/47", "HumanEval/116", "HumanEval/148"}
    with_examples = 0
    for name, question, answer in tasks:
        groups, behaviours = run_all(question, [answer])
        assert groups.failed == (name in wrong_examples,), (name, behaviours)
        with_examples += bool(find_examples(question))
    assert with_examples > 0.8 * len(tasks)


def test_code_is_an_open_question_unless_prose_states_the_result() -> None:
    printed = [
        fenced("def f(x):\n    return x\nprint(f(3))  # The answer is 3"),
        fenced("def g(y):\n    return y\nprint(g(3))  # The answer is 3"),
    ]
    assert is_code_panel(printed)
    assert not group_answers(printed).closed
    assert not all_agree(printed)
    calculated = [f"{fenced('def f():' + chr(10) + '    return 18')}\nThe answer is {n}." for n in (18, 18)]
    assert not is_code_panel(calculated)
    assert group_answers(calculated).closed


def partition(groups: Sequence[int | None]) -> set[frozenset[int]]:
    return {frozenset(i for i, g in enumerate(groups) if g == group) for group in set(groups)}


OUTPUTS = st.one_of(
    st.builds(lambda v: Output(value=encode_output(v)), st.sampled_from([0, 1, 1.0, 2.5, "a", [1], (1,), None])),
    st.builds(lambda e: Output(error=e), st.sampled_from(["TypeError", "timeout"])),
)
BEHAVIOURS = st.one_of(
    st.builds(Behaviour, st.dictionaries(st.sampled_from("abcdefgh"), OUTPUTS, max_size=8)),
    st.builds(lambda: Behaviour(failure="does not load")),
)


@given(BEHAVIOURS, BEHAVIOURS)
def test_agreement_is_symmetric(one: Behaviour, other: Behaviour) -> None:
    assert agree(one, other) == agree(other, one)
    values = [o for o in one.outputs.values() if o.value is not None]
    assert agree(one, one) == (len(values) >= 2)


@given(st.lists(BEHAVIOURS, max_size=6).flatmap(lambda b: st.tuples(st.just(b), st.permutations(range(len(b))))))
def test_the_order_of_answers_changes_no_group(drawn: tuple[list[Behaviour], list[int]]) -> None:
    behaviours, order = drawn
    examples = [Example(Call("f", "a"), "1"), Example(Call("f", "b"))]
    groups = group_behaviours(behaviours, examples)
    shuffled = group_behaviours([behaviours[i] for i in order], examples)
    there = {frozenset(order[i] for i in members) for members in partition(shuffled.group_of)}
    assert there == partition(groups.group_of)
    assert list(shuffled.failed) == [groups.failed[i] for i in order]
    assert list(dict.fromkeys(groups.group_of)) == list(range(len(set(groups.group_of))))
    for i, failed in enumerate(groups.failed):
        assert not failed or len(groups.members(groups.group_of[i] or 0)) == 1


VALUES = st.recursive(
    st.one_of(st.integers(), st.floats(), st.text(max_size=8), st.booleans(), st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.text(max_size=3), inner, max_size=4),
        st.frozensets(st.integers(), max_size=4),
    ),
    max_leaves=12,
)


@given(VALUES)
def test_the_same_value_has_the_same_output(value: object) -> None:
    assert encode_output(value) == encode_output(value)
    output = Behaviour({name: Output(value=encode_output(value)) for name in "ab"})
    assert agree(output, output)


@settings(max_examples=300)
@given(st.text(alphabet="f(){}[]=,:'\"#\n abcdef123.>-+\\", max_size=400))
def test_any_text_can_be_read(text: str) -> None:
    text = f"def f(a, b):\n{text}\n```python\ndef g(x):\n    {text}\n"
    inputs = collect_inputs(find_examples(text), [text])
    assert len(inputs) == len(set(inputs))
    assert all(len(i) <= 500 for i in inputs)
