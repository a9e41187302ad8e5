"""The questions of the demo: what each shows, and how its answer is checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import resources
from random import Random
from typing import Literal

import msgspec

from routemoa.datasets.grading import GraderName, grade
from routemoa.datasets.grading.code import run_tests

__all__ = ["DemoQuestion", "Example", "check_answer", "chosen_questions", "load_questions", "random_questions"]


class Example(msgspec.Struct, frozen=True):
    """A call of the function that was asked for."""

    call: str
    expected: str
    """A Python expression."""


class DemoQuestion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A question whose right answer is known."""

    id: str
    kind: Literal["fact", "word problem", "code"]
    query: str
    reference: str | None = None
    """Of a fact or a word problem."""
    examples: tuple[Example, ...] = ()
    """Of code."""
    shows: str | None = None
    """What it was chosen to show; None where it was not chosen."""


class Check(msgspec.Struct, frozen=True):
    """One thing about an answer that is right or wrong."""

    what: str
    is_right: bool
    detail: str = ""


def load_questions() -> tuple[DemoQuestion, ...]:
    """Return all questions that the demo may ask."""
    lines = resources.files("routemoa.cli.demo").joinpath("questions.jsonl").read_text("utf-8").splitlines()
    return tuple(msgspec.json.decode(line, type=DemoQuestion) for line in lines)


def chosen_questions(questions: Sequence[DemoQuestion]) -> list[DemoQuestion]:
    """Return the three that show the three ways it works."""
    return [q for q in questions if q.shows]


def random_questions(questions: Sequence[DemoQuestion], seed: int | None) -> list[DemoQuestion]:
    """Return one question of each kind by chance; the same for the same seed."""
    random = Random(seed)  # noqa: S311  (which questions to ask is no secret)
    kinds = dict.fromkeys(q.kind for q in questions)
    return [random.choice([q for q in questions if q.kind == kind]) for kind in kinds]


def check_answer(question: DemoQuestion, text: str) -> Iterator[Check]:
    """Yield whether an answer is right: against its reference, or each example of code, run in the sandbox.

    Raises:
        NoSandbox: code cannot be run here, so it is not checked.
    """
    if question.reference is not None:
        grader: GraderName = "numeric" if question.kind == "word problem" else "contains"
        yield Check(f"the reference is {question.reference}", grade(text, question.reference, grader) == 1.0)
    for example in question.examples:
        result = run_tests(text, f"# --- answer ---\nassert {example.call} == {example.expected}\n")
        detail = "" if result.passed else result.reason
        yield Check(f"{example.call} == {example.expected}", result.passed, detail)
