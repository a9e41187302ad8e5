"""The demo's questions: each can be checked, and each check can fail."""

from __future__ import annotations

import pytest

from routemoa.cli.demo.questions import (
    DemoQuestion,
    check_answer,
    chosen_questions,
    load_questions,
    random_questions,
)
from routemoa.cli.demo.summary import read_recorded
from routemoa.core.errors import NoSandbox

SOLUTIONS = {
    "is_palindrome": (
        "def is_palindrome(text):\n    t = [c for c in text.lower() if c.isalnum()]\n    return t == t[::-1]"
    ),
    "fizzbuzz": "def fizzbuzz(n):\n    return ('Fizz' * (n % 3 == 0) + 'Buzz' * (n % 5 == 0)) or str(n)",
    "count_vowels": "def count_vowels(text):\n    return sum(c in 'aeiou' for c in text.lower())",
    "is_prime": "def is_prime(n):\n    return n > 1 and all(n % d for d in range(2, n))",
    "factorial": "def factorial(n):\n    return 1 if n == 0 else n * factorial(n - 1)",
    "second_largest": "def second_largest(numbers):\n    return sorted(set(numbers))[-2]",
}
QUESTIONS = load_questions()


def all_right(question: DemoQuestion, answer: str) -> bool:
    try:
        return all(check.is_right for check in check_answer(question, answer))
    except NoSandbox as e:
        pytest.skip(str(e))


def test_three_are_chosen_one_of_each_kind() -> None:
    assert [q.kind for q in chosen_questions(QUESTIONS)] == ["fact", "word problem", "code"]
    assert len({q.id for q in QUESTIONS}) == len(QUESTIONS)


@pytest.mark.parametrize("question", [q for q in QUESTIONS if q.kind != "code"], ids=lambda q: q.id)
def test_a_reference_tells_right_from_wrong(question: DemoQuestion) -> None:
    assert question.reference is not None
    assert all_right(question, f"It is simple: the answer is {question.reference}.")
    assert not all_right(question, "The answer is 123456.")
    assert not all_right(question, "I do not know.")


@pytest.mark.parametrize("question", [q for q in QUESTIONS if q.kind == "code"], ids=lambda q: q.id)
def test_examples_tell_right_from_wrong(question: DemoQuestion) -> None:
    name = question.examples[0].call.partition("(")[0]
    assert all_right(question, f"```python\n{SOLUTIONS[name]}\n```")
    assert not all_right(question, f"```python\ndef {name}(*_):\n    return None\n```")


def test_random_questions_are_one_of_each_kind_and_repeatable() -> None:
    drawn = random_questions(QUESTIONS, 7)
    assert [q.kind for q in drawn] == ["fact", "word problem", "code"]
    assert drawn == random_questions(QUESTIONS, 7)
    assert len({tuple(q.id for q in random_questions(QUESTIONS, seed)) for seed in range(20)}) > 5


def test_the_recorded_figures_are_of_these_questions() -> None:
    recorded = read_recorded()
    assert all(f.questions == 3 for f in recorded.demo)
    assert [f.method for f in recorded.short96] == ["the mixture", "best single model", "dense MoA"]
    assert recorded.short96[0].questions == 96
    assert recorded.short96[0].right > recorded.short96[1].right
